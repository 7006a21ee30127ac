"""`/v1/generations/{id}/events`: a generation's life as server-sent events, resumable.

The worker appends events to a Redis stream, whose entry ids are the event ids. A client that
reconnects with `Last-Event-ID` gets exactly what came after it, from any API process.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.problems import InvalidField, ServiceError, errors
from app.routes.generations import Found
from app.state import Service, ServiceDep
from app.wakes import Wakes
from wire.record import Record

router = APIRouter(prefix="/v1/generations", tags=["generations"])
_BEFORE_ALL = "0-0"
_MAX_ID_PART = 2**64 - 1
_EVENT_ID = re.compile(r"\d{1,20}-\d{1,20}")


def last_event(
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


@router.get(
    "/{id}/events",
    response_class=EventSourceResponse,
    responses=errors(401, 404, 410, 422, 503),
)
async def events(
    service: ServiceDep, record: Found, after: Annotated[str | None, Depends(last_event)]
) -> AsyncIterator[ServerSentEvent]:
    """`status`, `progress`, `image` and `done` events; the stream ends after `done`."""
    with service.wakes.watch(record.id) as news:
        if after is None:
            snapshot = await service.store.view(record)
            yield ServerSentEvent(
                raw_data=snapshot.model_dump_json(), event="status", id=_BEFORE_ALL
            )
            after = _BEFORE_ALL
        while True:
            news.clear()
            over = await _is_over(service, record)
            page = await service.store.events(record.id, after)
            for after, name, data in page:
                yield ServerSentEvent(raw_data=data, event=name, id=after)
                if name == "done":
                    return
            if not page:
                if over:
                    return
                await Wakes.wait(news)


def _is_event_id(text: str) -> bool:
    return bool(_EVENT_ID.fullmatch(text)) and max(map(int, text.split("-"))) < _MAX_ID_PART


async def _is_over(service: Service, record: Record) -> bool:
    """Whether no event will be added: looked at before the events are read."""
    try:
        return (await service.store.record(record.id, record.owner)).status.finished
    except ServiceError:
        return True
