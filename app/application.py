"""Puts the process together: Redis connections, the listener, routes, errors, the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles

from app import decoding, description, problems
from app.connect import blocking, close, listening, pooled
from app.lapses import Lapses
from app.middleware.body import BoundedBody
from app.middleware.failures import UnexpectedFailures
from app.middleware.keys import KeyFirst
from app.middleware.names import OwnNames
from app.middleware.observe import Observe
from app.middleware.packed import Packed
from app.middleware.rates import RateLimit
from app.middleware.secure import Secure
from app.middleware.traced import Traced
from app.offers import OfferBook
from app.queue import SubmitQueue
from app.routes import (
    events,
    generations,
    health,
    metrics,
    models,
    openai,
    openai_inputs,
    page,
    pictures,
    uploads,
    webhooks,
)
from app.settings import AppSettings
from app.state import Service, State
from app.store import Store
from app.telemetry import Telemetry
from app.uploads import Uploads
from app.wakes import Wakes
from wire.images import Images
from wire.traces import Traces

_DESCRIPTION = """
Small images from diffusion models. `POST /v1/generations` asks for pictures; poll the answer's
`urls.self`, stream `urls.events`, or send `Prefer: wait=60` (and `Accept: image/png` for the
picture itself). The same seed and parameters draw the same picture.
"""
_CONNECTIONS = 64
_IMAGES_SECONDS = 10.0
_MOST_BODY_BYTES = 1024 * 1024
_UPLOAD_BYTES = 8 * 1024 * 1024
_LARGER_BODIES = {
    "/v1/uploads": _UPLOAD_BYTES,
    # A picture and a mask, and what a form adds.
    "/v1/images/edits": 2 * _UPLOAD_BYTES + _MOST_BODY_BYTES,
    "/v1/images/variations": _UPLOAD_BYTES + _MOST_BODY_BYTES,
}
_EXPOSED = (
    *("ETag", "Location", "Preference-Applied", "Retry-After", "X-Request-ID", "Emaki-Warning"),
    *("RateLimit", "RateLimit-Policy"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)


def create_app(settings: AppSettings, redis_url: str, *, traces: Traces | None = None) -> FastAPI:
    """The ASGI application; it connects when its lifespan begins.

    Args:
        traces: where spans go; None: nowhere.

    Raises:
        ImagesUrlError: `EMAKI_IMAGES` is no place to read from.
    """
    telemetry = Telemetry()
    images = Images(settings.images, seconds=_IMAGES_SECONDS) if settings.images else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        client = pooled(redis_url, connections=_CONNECTIONS)
        listener, blocked = listening(redis_url), blocking(redis_url)
        wakes = Wakes(listener)
        queue = SubmitQueue(
            blocked, max_pictures=settings.max_queue, max_stored=settings.most_stored
        )
        offers = OfferBook(client, model_ttl=settings.model_ttl)
        store = Store(client, offers, images)
        uploaded = Uploads(client, settings, images)
        lapses = Lapses(client, offers, settings)
        tasks = [
            asyncio.create_task(wakes.listen()),
            asyncio.create_task(lapses.watch()),
            asyncio.create_task(_warm_up(blocked)),
        ]
        app.state.stop_waiting = wakes.stop  # for the server, before it closes connections
        try:
            yield {
                "service": Service(
                    settings, client, store, offers, queue, wakes, telemetry, uploaded
                )
            }
        finally:
            for task in tasks:
                while not task.done():  # a cancellation can get lost inside redis-py
                    task.cancel()
                    await asyncio.wait([task], timeout=0.5)
            await close(listener)
            await close(client)
            blocked.close()
            if traces is not None:
                await run_in_threadpool(traces.close)

    app = FastAPI(
        title="Emaki",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages run scripts from elsewhere; ours: `app.routes.page`
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    problems.install(app)
    for module in (generations, pictures, uploads, events, models, openai, openai_inputs):
        app.include_router(module.router)
    for module in (webhooks, health, metrics, page):
        app.include_router(module.router)
    app.mount("/static", _PageFiles(directory=Path(__file__).parent / "static"), name="static")
    description.install(app)
    # The last one added is the outermost.
    app.add_middleware(Packed)
    app.add_middleware(
        BoundedBody,
        most_bytes=_MOST_BODY_BYTES,
        larger=_LARGER_BODIES,
        seconds=settings.request_timeout,
    )
    if settings.rate_limit is not None:
        app.add_middleware(RateLimit, limit=settings.rate_limit)
    app.add_middleware(KeyFirst, settings=settings)
    app.add_middleware(UnexpectedFailures)
    if settings.origins:  # outside of whatever else may answer: a page reads refusals, too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    app.add_middleware(OwnNames, names=settings.names)
    app.add_middleware(Secure)
    app.add_middleware(Observe, telemetry=telemetry)
    if traces is not None:
        app.add_middleware(Traced, traces=traces)
    return app


async def _warm_up(client: redis.Redis) -> None:
    """A thread and its connection, which the first submit would wait for; and Pillow's formats."""
    with suppress(redis.exceptions.RedisError):
        await run_in_threadpool(client.ping)
    await run_in_threadpool(decoding.warm_up)


class _PageFiles(StaticFiles):
    """The page's parts, asked for anew each time: an upgrade never mixes old and new ones."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        # Nobody frames a script or posts to one: the short policy saves each visit 2 kB.
        answer.headers["Content-Security-Policy"] = "default-src 'none'"
        for name in (
            "Last-Modified",
            "Accept-Ranges",
        ):  # the tag says more, and the files are small
            if name in answer.headers:
                del answer.headers[name]
        return answer
