"""`/v1/images/generations` as the `openai` package calls it; errors in OpenAI's envelope.

A prompt names a class, or says what to draw where the model draws from words. Other fields of
OpenAI's are accepted and ignored; `seed`, `steps`, `guidance_scale`, `sampler` and `scale` are
Emaki's own (in the package: `extra_body`).
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from app.addresses import public_url
from app.auth import Owner
from app.exceptions import GenerationCanceled, GenerationFailed, ModelNotFound, Stopping
from app.follow import follow, one_more_stream
from app.problems import openai_error
from app.prompts import class_of
from app.resolve import split_version
from app.state import RequestId, Service, ServiceDep, TraceParent
from app.submission import accept, all_images, until_finished
from app.warned import DESCRIBED, warning_headers
from wire.record import Record
from wire.schemas import (
    MAX_BATCH,
    MAX_SEED,
    MODEL_PATTERN,
    GenerationRequest,
    ModelCard,
    Sampler,
    Status,
)

router = APIRouter(prefix="/v1/images", tags=["openai"])
_WAIT_SECONDS = 600.0  # as long as the openai package waits, if it does not say
_PATIENCE = "x-stainless-read-timeout"  # where it says
_TO_ANSWER = 0.9  # of that: one that gives up by itself asks again
_LOOK_SECONDS = 1.0


class ImagesRequest(BaseModel):
    """OpenAI's request, as far as it means something here."""

    model_config = ConfigDict(extra="ignore", strict=True)

    prompt: str = Field(
        max_length=32_000,
        description="A class, or a text that names one; where the card's `conditioning` is text, "
        "what to draw, in 1,000 characters at most.",
    )
    model: str | None = Field(None, pattern=MODEL_PATTERN)
    n: int | None = Field(None, ge=1, le=MAX_BATCH)
    response_format: Literal["url", "b64_json"] | None = Field(None, description="Absent: both.")
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3, description="With `stream`.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    steps: int | None = Field(None, ge=1)
    guidance_scale: float | None = Field(None, ge=0, le=20, allow_inf_nan=False)
    sampler: Sampler | None = None
    scale: int = Field(1, ge=1, le=16)


class ImageData(BaseModel):
    """One picture; `url` needs the same API key."""

    b64_json: str | None = None
    url: str | None = None


class ImagesAnswer(BaseModel):
    """OpenAI's answer."""

    created: int
    data: list[ImageData]
    output_format: Literal["png"] = "png"
    size: str


class OpenAIErrorBody(BaseModel):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """OpenAI's error envelope."""

    error: OpenAIErrorBody


async def place_for_a_stream(
    service: ServiceDep, owner: Owner, asked: ImagesRequest
) -> AsyncIterator[None]:
    """Counts it, if it is to be a stream, as long as it is open."""
    if not asked.stream:
        yield
        return
    with one_more_stream(service, owner):
        yield


@router.post(
    "/generations",
    operation_id="create_images",
    response_model=ImagesAnswer,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "The pictures, or the stream.",
            "headers": DESCRIBED,
        },
        **{
            status: {"model": OpenAIError}
            for status in (400, 401, 404, 408, 409, 413, 415, 421, 429, 500, 503)
        },
    },
)
async def generate(
    request: Request,
    service: ServiceDep,
    owner: Owner,
    request_id: RequestId,
    traceparent: TraceParent,
    asked: ImagesRequest,
    _stream_place: Annotated[None, Depends(place_for_a_stream)],
) -> Response:
    """OpenAI's images route."""
    wanted = wanted_of(asked, await card_of(service, asked.model))
    record, _ = await accept(service, owner, wanted, request_id=request_id, traceparent=traceparent)
    return await answer(request, service, record, asked, kind="image_generation")


async def card_of(service: Service, model: str | None) -> ModelCard:
    """The card of the model that a request names, or of the default one."""
    name, _ = split_version(model or service.settings.default_model)
    card = await service.offers.card(name)
    if card is None:
        raise ModelNotFound(name, sorted((await service.offers.now()).cards))
    return card


async def answer(
    request: Request, service: Service, record: Record, asked: ImagesRequest, *, kind: str
) -> Response:
    """The pictures of a generation that was accepted, or the stream of its events.

    Args:
        kind: what OpenAI's events begin with.
    """
    request.state.generation_id = record.id
    if asked.stream:
        events = _stream(service, record, kind)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
    record = await _while_connected(request, service, record)
    pictures = await _pictures(service, record)
    base = public_url(request, service)
    entries = [record.images[index] for index in sorted(record.images)]
    data = [
        ImageData(
            b64_json=None if asked.response_format == "url" else _base64(png),
            url=None
            if asked.response_format == "b64_json"
            else f"{base}/v1/generations/{record.id}/images/{entry['index']}.png",
        )
        for entry, png in zip(entries, pictures, strict=True)
    ]
    images = ImagesAnswer(created=int(record.created), data=data, size=_size(record))
    return JSONResponse(images.model_dump(exclude_none=True), headers=warning_headers(record))


def wanted_of(
    asked: ImagesRequest, card: ModelCard, *, strength: float | None = None
) -> GenerationRequest:
    """What OpenAI's fields mean here; RequestValidationError where that cannot be asked for."""
    steps = min(asked.steps or card.defaults.steps, card.timesteps)  # more is refused later
    partial = asked.partial_images or 0
    chosen = {
        "model": asked.model,
        "seed": asked.seed,
        "steps": asked.steps,
        "guidance_scale": asked.guidance_scale,
        "sampler": asked.sampler,
        "batch": asked.n,
        "class": None if card.conditioning == "text" else class_of(asked.prompt, card),
        "prompt": asked.prompt if card.conditioning == "text" else None,
        "scale": asked.scale,
        "strength": strength,
        "preview_every": -(-steps // (partial + 1)) if asked.stream and partial else None,
    }
    try:
        return GenerationRequest.model_validate({k: v for k, v in chosen.items() if v is not None})
    except ValidationError as error:  # OpenAI's prompts may be longer than ours
        raise RequestValidationError(error.errors()) from error


async def _while_connected(request: Request, service: Service, record: Record) -> Record:
    """Wait for the end; cancel when the client goes away, for nobody else knows of it."""
    deadline = time.monotonic() + _patience(request)
    while not record.status.finished:
        looked = time.monotonic()
        pause = min(_LOOK_SECONDS, max(0.0, deadline - looked))
        record = await until_finished(service, record, seconds=pause)
        if record.status.finished:
            break
        if service.wakes.stopped:
            await service.store.cancel(record)
            raise Stopping(f"this server stops; generation {record.id} is canceled; ask again")
        # It comes back at once while Redis is away.
        await asyncio.sleep(max(0.0, looked + pause - time.monotonic()))
        if time.monotonic() > deadline or await request.is_disconnected():
            await service.store.cancel(record)
            raise GenerationFailed(
                f"generation {record.id} was not finished in time and is canceled; ask for fewer "
                "images or steps, or use POST /v1/generations, which does not wait"
            )
    return record


def _patience(request: Request) -> float:
    """Seconds in which the client wants its answer, less some to answer."""
    try:
        told = float(request.headers.get(_PATIENCE, ""))
    except ValueError:
        told = _WAIT_SECONDS
    return _TO_ANSWER * (min(told, _WAIT_SECONDS) if told > 0 else _WAIT_SECONDS)


async def _pictures(service: Service, record: Record) -> list[bytes]:
    if record.status is Status.FAILED:
        raise GenerationFailed(record.error.detail if record.error else "drawing failed")
    if record.status is Status.CANCELED:
        raise GenerationCanceled(f"generation {record.id} was canceled; ask again")
    return await all_images(service, record)


async def _stream(service: Service, record: Record, kind: str) -> AsyncIterator[str]:
    """Partial and completed images; a client that goes away cancels what is left."""
    finished = False
    partial: dict[int, int] = {}
    common = {
        "created_at": int(record.created),
        "output_format": "png",
        "background": "opaque",
        "quality": "auto",
    }
    try:
        async for event in follow(service, record):
            if event is None:
                yield ": still drawing\n\n"
                continue
            _, name, text = event
            data: dict[str, Any] = json.loads(text)
            if name == "preview":
                number = partial.setdefault(data["index"], 0)
                partial[data["index"]] += 1
                yield _event(
                    f"{kind}.partial_image",
                    common
                    | {
                        "b64_json": data["png_base64"],
                        "partial_image_index": number,
                        "size": _size(record),
                    },
                )
            elif name == "image":
                png = await service.store.png(record.id, data["index"])
                yield _event(
                    f"{kind}.completed",
                    common
                    | {
                        "b64_json": _base64(png or b""),
                        "size": f"{data['width']}x{data['height']}",
                        "usage": _NO_USAGE,
                    },
                )
            elif name == "done":
                finished = True
                if data["status"] != Status.SUCCEEDED:
                    why = (data["error"] or {}).get("detail", "the generation was canceled")
                    yield _event("error", openai_error(500, "generation_failed", why))
    finally:
        if not finished:
            with anyio.CancelScope(shield=True), suppress(RedisError):
                await service.store.cancel(record)


_NO_USAGE = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _size(record: Record) -> str:
    facts = next(iter(record.images.values()), None)
    return f"{facts['width']}x{facts['height']}" if facts else "auto"
