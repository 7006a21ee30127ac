"""A generation's events as they come, from any point on, until it has ended."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from app.exceptions import ServiceError, TooManyStreams
from app.state import Service
from app.store import STREAM_PAGE
from app.wakes import Wakes
from wire.record import Record

BEFORE_ALL = "0-0"
_AWAY_SECONDS = 1.0


@contextmanager
def one_more_stream(service: Service, owner: str) -> Iterator[None]:
    """Counts a stream against its key's limit for as long as it is open.

    Raises:
        TooManyStreams: the key has as many as it may.
    """
    if service.streams[owner] >= service.settings.max_streams:
        raise TooManyStreams(service.settings.max_streams)
    service.streams[owner] += 1
    service.telemetry.streams.inc()
    try:
        yield
    finally:
        service.streams[owner] -= 1
        service.telemetry.streams.dec()


async def follow(
    service: Service, record: Record, *, after: str = BEFORE_ALL
) -> AsyncIterator[tuple[str, str, str] | None]:
    """Yield (id, name, JSON) of every event after the one with id ``after``.

    None stands for "still here": now and then while nothing happens.

    Ends after `done`, when the generation is deleted, or when this process stops. While Redis is
    away nothing comes, and then everything.
    """
    with service.wakes.watch(record.id) as news:
        while not service.wakes.stopped:
            news.clear()
            try:
                page = await service.store.events(record.id, after)
                if not page and await _is_over(service, record):
                    # No event will be added; one may have been, since the events were read.
                    page = await service.store.events(record.id, after)
                    if not page:
                        return
            except RedisError:
                await Wakes.wait(news, seconds=_AWAY_SECONDS)
                continue
            for id_, name, data in page:
                yield id_, name, data
                if name == "done":
                    return
                after = id_
            if len(page) < STREAM_PAGE and not await Wakes.wait(news):
                yield None


async def _is_over(service: Service, record: Record) -> bool:
    """Whether no event will be added any more."""
    try:
        return (await service.store.record(record.id, record.owner)).status.finished
    except ServiceError:
        return True
