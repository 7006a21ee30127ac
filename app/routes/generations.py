"""`/v1/generations`: submit, list, poll, wait, cancel and delete."""

import time
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from redis.exceptions import RedisError

from app import cursor as cursors
from app.addresses import Base, Preferred, placed
from app.auth import Owner
from app.exceptions import AlreadyFinished, IdempotencyKeyReused
from app.narrowing import Narrowed
from app.prefer import Preferences, wants_png
from app.problems import BINARY, errors
from app.queue import Idempotency
from app.state import RequestId, Service, ServiceDep, TraceParent
from app.submission import accept, idempotency, picture, until_finished
from app.wakes import Wakes
from app.warned import DESCRIBED, warning_headers
from wire.record import Record
from wire.schemas import (
    Generation,
    GenerationList,
    GenerationRequest,
    Status,
)

router = APIRouter(prefix="/v1/generations", tags=["generations"])
_CANCEL_SECONDS = 5.0
_MOST_LISTED = 100
_JSON = "application/json"
# What can be done with an answer's id, for those who explore the description by machine.
_LINKS = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
    for name in (
        *("get_generation", "cancel_generation", "delete_generation", "stream_events"),
        *("get_grid", "get_images_zip", "get_strip"),
    )
}
_LINKS["get_image"] = {
    "operationId": "get_image",
    "parameters": {"id": "$response.body#/id", "index": "$response.body#/images/0/index"},
}


async def find_record(
    service: ServiceDep, owner: Owner, id_: Annotated[str, Path(alias="id")]
) -> Record:
    """The generation that the path names, if it is the caller's."""
    return await service.store.record(id_, owner)


Found = Annotated[Record, Depends(find_record)]


@router.post(
    "",
    operation_id="create_generation",
    status_code=202,
    response_model=Generation,
    responses={
        200: {
            "model": Generation,
            "description": "Finished while `Prefer: wait` held; or the picture.",
            "content": {"image/png": {"schema": BINARY}},
            "headers": DESCRIBED,
            "links": _LINKS,
        },
        202: {"links": _LINKS},
        **errors(400, 401, 404, 408, 409, 410, 413, 415, 422, 429, 500, 503),
    },
)
async def submit(
    request: Request,
    service: ServiceDep,
    owner: Owner,
    request_id: RequestId,
    traceparent: TraceParent,
    preferred: Preferred,
    base: Base,
    accept_: Annotated[str | None, Header(alias="accept", include_in_schema=False)] = None,
    idempotency_key: Annotated[
        str | None, Header(description="The same key and payload replay the first answer.")
    ] = None,
    wanted: Annotated[GenerationRequest | None, Body()] = None,
) -> Response:
    """Ask for pictures. `{}` draws one with the default model."""
    wanted = wanted or GenerationRequest.model_validate({})
    wait = preferred.wait
    once = None if idempotency_key is None else idempotency(owner, idempotency_key, wanted)
    first = None if once is None else await _first(service, once)
    if first is None:
        record, new = await accept(
            service,
            owner,
            wanted,
            request_id=request_id,
            traceparent=traceparent,
            host=request.headers.get("host", ""),
            once=once,
        )
    else:
        id_, answer = first
        if wait is None and answer is not None:
            kept = placed(Generation.model_validate_json(answer), base)
            headers = _headers(id_, preferred, base) | {"Idempotent-Replayed": "true"}
            return _accepted(kept, headers)
        record, new = await service.store.record(id_, owner), False
    request.state.generation_id = record.id
    if wait is not None:
        record = await until_finished(service, record, seconds=wait)
    headers = _headers(record.id, preferred, base)
    if not record.status.finished or (once is not None and wait is None):
        try:
            view = await service.store.view(record)
            if once is not None and new:
                await service.store.keep_answer(once.key, view.model_dump_json())
        except RedisError:  # accepted all the same
            view = record.generation(now=time.time())
        return _accepted(placed(view, base), headers)
    if wants_png(accept_):
        headers |= warning_headers(record)
        return Response(await picture(service, record), 200, headers, media_type="image/png")
    view = placed(await service.store.view(record), base)
    return Response(view.model_dump_json(), 200, headers, media_type=_JSON)


@router.get("", operation_id="list_generations", responses=errors(401, 422, 429, 503))
async def list_generations(
    service: ServiceDep,
    owner: Owner,
    base: Base,
    wanted: Narrowed,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 20,
    cursor: cursors.Asked = None,
) -> GenerationList:
    """Your generations, newest first. A page may hold fewer than `limit`, and not be the last."""
    after = None if cursor is None else cursors.decode(cursor, owner, cursors.HISTORY)
    records, more = await service.store.history(owner, wanted, after=after, limit=limit)
    data = [placed(await service.store.view(record), base) for record in records]
    next_cursor = None if more is None else cursors.encode(more, owner)
    return GenerationList(data=data, next_cursor=next_cursor)


@router.get(
    "/{id}",
    operation_id="get_generation",
    response_model=Generation,
    responses=errors(401, 404, 410, 429, 503),
)
async def poll(
    service: ServiceDep, owner: Owner, id_: Annotated[str, Path(alias="id")], base: Base
) -> Response:
    """How it is going, and what is finished."""
    view = placed(await service.store.poll(id_, owner), base)
    return Response(view.model_dump_json(), media_type=_JSON)  # as it is: polls are many


@router.delete(
    "/{id}",
    operation_id="delete_generation",
    status_code=204,
    responses=errors(401, 404, 410, 429, 503),
)
async def delete(service: ServiceDep, record: Found) -> Response:
    """Cancel it if need be, and remove it with its images."""
    await service.store.delete(record)
    return Response(status_code=204)


@router.post(
    "/{id}/cancel", operation_id="cancel_generation", responses=errors(401, 404, 409, 410, 429, 503)
)
async def cancel(service: ServiceDep, record: Found, base: Base) -> Generation:
    """Stop it: at once while queued, within two steps while it runs. Twice is once."""
    with service.wakes.watch(record.id, end=True) as news:
        if record.status.finished or not await service.store.cancel(record):
            current = await service.store.record(record.id, record.owner)
            if current.status is Status.CANCELED:
                return placed(await service.store.view(current), base)
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
    return placed(await service.store.view(record), base)


async def _first(service: Service, once: Idempotency) -> tuple[str, str | None] | None:
    """The generation that this Idempotency-Key stands for, and its first answer if that is known.

    None: it stands for none yet; `accept` decides between two that come at once.
    """
    first = await service.store.first_answer(once.key)
    if first is None:
        return None
    id_, fingerprint, answer = first
    if fingerprint != once.fingerprint:
        raise IdempotencyKeyReused
    return id_, answer


def _accepted(view: Generation, headers: dict[str, str]) -> Response:
    return Response(view.model_dump_json(), 202, headers | {"Retry-After": "1"}, media_type=_JSON)


def _headers(id_: str, preferred: Preferences, base: str) -> dict[str, str]:
    location = {"Location": f"{base}/v1/generations/{id_}", "Vary": "Prefer, Accept"}
    return location | preferred.applied
