"""Puts the process together: Redis connections, the listener, routes, errors, the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import decoding, problems
from app.lapses import Lapses
from app.middleware.body import BoundedBody
from app.middleware.failures import UnexpectedFailures
from app.middleware.keys import KeyFirst
from app.middleware.names import OwnNames
from app.middleware.observe import Observe
from app.middleware.rates import RateLimit
from app.middleware.secure import Secure
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
)
from app.settings import AppSettings
from app.state import Service, State
from app.store import Store
from app.telemetry import Telemetry
from app.uploads import Uploads
from app.wakes import Wakes
from wire.images import Images
from wire.schemas import Problem

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
    *("ETag", "Location", "Preference-Applied", "Retry-After", "X-Request-ID"),
    *("RateLimit", "RateLimit-Policy"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)


def create_app(settings: AppSettings, redis_url: str) -> FastAPI:
    """The ASGI application; it connects when its lifespan begins.

    Raises:
        ImagesUrlError: `EMAKI_IMAGES` is no place to read from.
    """
    telemetry = Telemetry()
    images = Images(settings.images, seconds=_IMAGES_SECONDS) if settings.images else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        shared: dict[str, Any] = {"socket_connect_timeout": 2, "health_check_interval": 30}
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            redis_url,
            max_connections=_CONNECTIONS,
            timeout=5,
            retry=AsyncRetry(NoBackoff(), 1),
            **shared,
        )
        client = redis.asyncio.Redis.from_pool(pool)
        listener = redis.asyncio.Redis.from_url(redis_url, **shared)
        blocking = redis.Redis.from_url(
            redis_url, socket_timeout=5, retry=Retry(NoBackoff(), 1), **shared
        )
        wakes = Wakes(listener)
        queue = SubmitQueue(
            blocking, max_pictures=settings.max_queue, max_stored=settings.most_stored
        )
        offers = OfferBook(client, model_ttl=settings.model_ttl)
        store = Store(client, offers, images)
        uploaded = Uploads(client, settings, images)
        lapses = Lapses(client, offers, settings)
        tasks = [
            asyncio.create_task(wakes.listen()),
            asyncio.create_task(lapses.watch()),
            asyncio.create_task(_warm_up(blocking)),
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
            await listener.aclose()
            await client.aclose()
            blocking.close()

    app = FastAPI(
        title="Emaki",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages run scripts from elsewhere; ours: `app.routes.page`
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    problems.install(app)
    for module in (generations, pictures, uploads, events, models, openai, openai_inputs):
        app.include_router(module.router)
    for module in (health, metrics, page):
        app.include_router(module.router)
    app.mount("/static", _PageFiles(directory=Path(__file__).parent / "static"), name="static")
    _describe_problems(app)
    # The last one added is the outermost.
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
    return app


async def _warm_up(blocking: redis.Redis) -> None:
    """A thread and its connection, which the first submit would wait for; and Pillow's formats."""
    with suppress(redis.exceptions.RedisError):
        await run_in_threadpool(blocking.ping)
    await run_in_threadpool(decoding.warm_up)


class _PageFiles(StaticFiles):
    """The page's parts, asked for anew each time: an upgrade never mixes old and new ones."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _describe_problems(app: FastAPI) -> None:
    """Put the problem schema into the OpenAPI description, instead of FastAPI's own error."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            schemas = schema["components"]["schemas"]
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].setdefault("421", problems.ERRORS[421])
                    if "422" in operation["responses"]:
                        operation["responses"]["422"] = problems.ERRORS[422]
        return app.openapi_schema or schema

    app.openapi = openapi  # type: ignore[method-assign]
