"""`/v1/generations/{id}/events`: a generation's life as server-sent events, resumable.

The worker appends events to a Redis stream, whose entry ids are the event ids. A client that
reconnects with `Last-Event-ID` gets exactly what came after it, from any API process.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.auth import Owner
from app.exceptions import InvalidField
from app.follow import BEFORE_ALL, follow, one_more_stream
from app.problems import errors
from app.routes.generations import Found
from app.state import Service, ServiceDep
from wire.record import Record

router = APIRouter(prefix="/v1/generations", tags=["generations"])
_MAX_ID_PART = 2**64 - 1
_MEDIA_TYPE = "text/event-stream"
_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_EVENT_ID = re.compile(r"\d{1,20}-\d{1,20}")


async def last_event(
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event instead of from the first.")
    ] = None,
) -> str | None:
    """The `Last-Event-ID` header, checked before the stream begins."""
    if last_event_id is not None and not _is_event_id(last_event_id):
        raise InvalidField(
            "Last-Event-ID",
            f"{last_event_id[:60]!r} is no event's id; send one that this stream gave, or none",
        )
    return last_event_id


async def place_for_a_stream(service: ServiceDep, owner: Owner) -> AsyncIterator[None]:
    """Counts the stream as long as it is open."""
    with one_more_stream(service, owner):
        yield


@router.get(
    "/{id}/events",
    operation_id="stream_events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_MEDIA_TYPE: {}}, "description": "The events."},
        **errors(401, 404, 410, 422, 429, 503),
    },
    dependencies=[Depends(place_for_a_stream)],
)
async def events(
    service: ServiceDep, record: Found, after: Annotated[str | None, Depends(last_event)]
) -> Response:
    """`status`, `progress`, `preview`, `image` and `done` events; the stream ends after `done`.

    It also ends when this process stops: a client that comes back with `Last-Event-ID` misses
    nothing.
    """
    # Not FastAPI's EventSourceResponse: that keeps two more tasks for each open stream.
    frames = _frames(service, record, after)
    return StreamingResponse(frames, media_type=_MEDIA_TYPE, headers=_UNBUFFERED)


async def _frames(service: Service, record: Record, after: str | None) -> AsyncIterator[bytes]:
    if after is None:
        snapshot = await service.store.view(record)
        yield format_sse_event(data_str=snapshot.model_dump_json(), event="status", id=BEFORE_ALL)
    async for event in follow(service, record, after=after or BEFORE_ALL):
        if event is None:
            yield KEEPALIVE_COMMENT
        else:
            id_, name, data = event
            yield format_sse_event(data_str=data, event=name, id=id_)


def _is_event_id(text: str) -> bool:
    return bool(_EVENT_ID.fullmatch(text)) and max(map(int, text.split("-"))) < _MAX_ID_PART
