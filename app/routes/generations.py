"""`/v1/generations`: submit, poll, wait, cancel, and fetch pictures."""

import hashlib
import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from app.auth import Owner
from app.grid import grid_png
from app.prefer import wait_seconds, wants_png
from app.problems import (
    AlreadyFinished,
    GenerationCanceled,
    GenerationFailed,
    ImageNotFound,
    ModelNotFound,
    errors,
)
from app.resolve import resolve, split_version
from app.state import Service, ServiceDep
from app.wakes import Wakes
from wire.keys import STRIP
from wire.record import Record
from wire.schemas import Generation, GenerationRequest, Status

router = APIRouter(prefix="/v1/generations", tags=["generations"])
_CANCEL_SECONDS = 5.0
_FOREVER = "private, max-age=31536000, immutable"
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The picture."}
}


async def find_record(
    service: ServiceDep, owner: Owner, id_: Annotated[str, Path(alias="id")]
) -> Record:
    """The generation that the path names, if it is the caller's."""
    return await service.store.record(id_, owner)


Found = Annotated[Record, Depends(find_record)]


@router.post(
    "",
    status_code=202,
    response_model=Generation,
    responses={
        200: {
            "model": Generation,
            "description": "Finished while `Prefer: wait` held; or the picture.",
            "content": {"image/png": {}},
        },
        **errors(400, 401, 404, 409, 415, 422, 500, 503),
    },
)
async def submit(
    service: ServiceDep,
    owner: Owner,
    wanted: Annotated[GenerationRequest | None, Body()] = None,
    prefer: Annotated[str | None, Header(description="`wait=N`: hold the answer.")] = None,
    accept: Annotated[str | None, Header(description="`image/png`: with `Prefer: wait`.")] = None,
) -> Response:
    """Ask for pictures. `{}` draws one with the default model."""
    record = await _accept(service, owner, wanted or GenerationRequest.model_validate({}))
    wait = wait_seconds(prefer)
    if wait is not None:
        record = await _until_finished(service, record, seconds=wait)
    headers = {"Location": f"/v1/generations/{record.id}", "Vary": "Prefer, Accept"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if not record.status.finished:
        headers["Retry-After"] = "1"
        try:
            view = await service.store.view(record)
        except RedisError:
            view = record.generation(now=time.time())
        return _json(view, 202, headers)
    if wants_png(accept):
        picture = await _picture(service, record)
        return Response(picture, 200, headers, media_type="image/png")
    return _json(await service.store.view(record), 200, headers)


@router.get("/{id}", responses=errors(401, 404, 410, 503))
async def poll(service: ServiceDep, record: Found) -> Generation:
    """How it is going, and what is finished."""
    return await service.store.view(record)


@router.post("/{id}/cancel", responses=errors(401, 404, 409, 410, 503))
async def cancel(service: ServiceDep, record: Found) -> Generation:
    """Stop it: at once while queued, within two steps while it runs."""
    with service.wakes.watch(record.id) as news:
        if not await service.store.cancel(record):
            current = await service.store.record(record.id, record.owner)
            raise AlreadyFinished(
                f"generation {record.id} has {current.status.value} already; there is nothing to "
                "cancel"
            )
        record = await service.store.record(record.id, record.owner)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while not record.status.finished and (left := deadline - time.monotonic()) > 0:
            await Wakes.wait(news, seconds=left)
            news.clear()
            record = await service.store.record(record.id, record.owner)
    return await service.store.view(record)


@router.get(
    "/{id}/images/{index}.png",
    response_class=Response,
    responses={**_PNG, 304: {"description": "Not modified."}, **errors(401, 404, 410, 422, 503)},
)
async def image(service: ServiceDep, record: Found, index: int, request: Request) -> Response:
    """One finished picture."""
    facts = record.images.get(index)
    data = await service.store.png(record.id, index) if facts else None
    if facts is None or data is None:
        raise ImageNotFound(_no_image(record, index))
    return _png(request, data, etag=facts["sha256"])


@router.get(
    "/{id}/grid.png",
    response_class=Response,
    responses={**_PNG, 304: {"description": "Not modified."}, **errors(401, 404, 410, 503)},
)
async def grid(service: ServiceDep, record: Found, request: Request) -> Response:
    """All pictures in one, when all are finished."""
    if record.status is not Status.SUCCEEDED:
        raise ImageNotFound(_no_image(record, None))
    return _png(request, await _picture(service, record))


@router.get(
    "/{id}/strip.png",
    response_class=Response,
    responses={**_PNG, 304: {"description": "Not modified."}, **errors(401, 404, 410, 503)},
)
async def strip(service: ServiceDep, record: Found, request: Request) -> Response:
    """The denoising scroll: a row per image, frames left to right, noise first."""
    if not record.request.strip:
        raise ImageNotFound(
            f"generation {record.id} has no strip: it was not asked for; send `strip` with 1 to 16"
        )
    data = await service.store.png(record.id, STRIP)
    if record.status is not Status.SUCCEEDED or data is None:
        raise ImageNotFound(_no_image(record, None))
    return _png(request, data)


async def _accept(service: Service, owner: str, wanted: GenerationRequest) -> Record:
    if wanted.model is None:
        wanted = wanted.model_copy(update={"model": service.settings.default_model})
    name, _ = split_version(wanted.model or "")
    card = await service.store.card(name)
    if card is None:
        raise ModelNotFound(name, [card.id for card in await service.store.cards()])
    record = Record(
        id=uuid.uuid4().hex,
        owner=owner,
        request=resolve(wanted, card, max_work=service.settings.max_work),
        created=time.time(),
        result_ttl=service.settings.result_ttl,
    )
    await run_in_threadpool(service.queue.submit, record)
    return record


async def _until_finished(service: Service, record: Record, *, seconds: float) -> Record:
    deadline = time.monotonic() + seconds
    with service.wakes.watch(record.id) as news:
        while True:
            news.clear()
            try:
                record = await service.store.record(record.id, record.owner)
            except RedisError:
                return record  # it is accepted all the same; the client polls
            left = deadline - time.monotonic()
            if record.status.finished or left <= 0:
                return record
            await Wakes.wait(news, seconds=left)


async def _picture(service: Service, record: Record) -> bytes:
    if record.status is Status.FAILED:
        why = record.error.detail if record.error else "unknown"
        raise GenerationFailed(f"generation {record.id} failed: {why}")
    if record.status is Status.CANCELED:
        raise GenerationCanceled(f"generation {record.id} was canceled; submit it again")
    pngs = await service.store.all_pngs(record)
    if len(pngs) < record.request.batch:
        raise ImageNotFound(_no_image(record, None))
    return await run_in_threadpool(grid_png, pngs)


def _no_image(record: Record, index: int | None) -> str:
    what = "pictures" if index is None else f"picture {index}"
    progress = f"{len(record.images)} of {record.request.batch} are finished"
    return f"generation {record.id} is {record.status.value} and has no {what}: {progress}"


def _json(generation: Generation, status: int, headers: dict[str, str]) -> Response:
    return Response(generation.model_dump_json(), status, headers, media_type="application/json")


def _png(request: Request, data: bytes, etag: str | None = None) -> Response:
    tag = f'"{etag or hashlib.sha256(data).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _FOREVER}
    if tag in [known.strip().removeprefix("W/") for known in _none_match(request)]:
        return Response(None, 304, headers)
    return Response(data, 200, headers, media_type="image/png")


def _none_match(request: Request) -> list[str]:
    return request.headers.get("if-none-match", "").split(",")
