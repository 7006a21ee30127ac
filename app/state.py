"""What a request handler may use: settings, Redis, the queue, and news of generations."""

from dataclasses import dataclass
from typing import Annotated, TypedDict

from fastapi import Depends, Request
from redis.asyncio import Redis

from app.queue import SubmitQueue
from app.settings import AppSettings
from app.store import Store
from app.wakes import Wakes


@dataclass(frozen=True)
class Service:
    """One per process, made by the lifespan."""

    settings: AppSettings
    redis: Redis
    store: Store
    queue: SubmitQueue
    wakes: Wakes


class State(TypedDict):
    """The lifespan's state, as Starlette hands it to every request."""

    service: Service


def service(request: Request) -> Service:
    """The process's service."""
    found: Service = request.state.service
    return found


ServiceDep = Annotated[Service, Depends(service)]
