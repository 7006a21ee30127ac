"""What a request handler may use: settings, Redis, the queue, and news of generations.

The dependencies are coroutines: FastAPI runs plain functions in a thread, which costs more.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from fastapi import Depends, Request
from redis.asyncio import Redis

from app.decoders import Decoders
from app.offers import OfferBook
from app.queue import SubmitQueue
from app.settings import AppSettings
from app.store import Store
from app.telemetry import Telemetry
from app.uploads import Uploads
from app.wakes import Wakes

_SHEETS_AT_ONCE = 2  # grids and archives take memory while they are made


@dataclass(frozen=True)
class Service:
    """One per process, made by the lifespan."""

    settings: AppSettings
    redis: Redis
    store: Store
    offers: OfferBook
    queue: SubmitQueue
    wakes: Wakes
    telemetry: Telemetry
    uploads: Uploads
    streams: Counter[str] = field(default_factory=Counter)  # open event streams by owner
    decoders: Decoders = field(default_factory=Decoders)
    sheets: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SHEETS_AT_ONCE))


class State(TypedDict):
    """The lifespan's state, as Starlette hands it to every request."""

    service: Service


async def service(request: Request) -> Service:
    """The process's service."""
    found: Service = request.state.service
    return found


async def request_id(request: Request) -> str:
    """This HTTP request's name in the logs."""
    return str(request.state.request_id)


async def traceparent(request: Request) -> str:
    """The trace that this HTTP request belongs to; "" where nobody traces."""
    return str(getattr(request.state, "traceparent", ""))


ServiceDep = Annotated[Service, Depends(service)]
RequestId = Annotated[str, Depends(request_id)]
TraceParent = Annotated[str, Depends(traceparent)]
