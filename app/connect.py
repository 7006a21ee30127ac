"""This process's clients of Redis: one server's, or the master's that Sentinels name."""

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.retry import Retry

from wire.sentinel import connect, sentinels

_SHARED: dict[str, Any] = {"socket_connect_timeout": 2, "health_check_interval": 30}
_SECONDS = 5  # for a connection of the pool to be free, and for an answer
CLOSED = "handler is closed"  # uvloop's words, where a connection ends while it is written to


class _Masters(redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """Connections to whichever is the master, as many as there may be; who comes then waits."""


def pooled(url: str, *, connections: int) -> redis.asyncio.Redis:
    """A client for many at once, with at most so many connections."""
    options: dict[str, Any] = {
        **_SHARED,
        "max_connections": connections,
        "timeout": _SECONDS,
        "retry": AsyncRetry(NoBackoff(), 1),
    }
    if sentinels(url) is None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(url, **options)
        return _losing(redis.asyncio.Redis.from_pool(pool))
    # A master whose host is gone does not even refuse: only an answer that does not come tells.
    options |= {"connection_pool_class": _Masters, "socket_timeout": _SECONDS}
    return _asyncio(url, **options)


def listening(url: str) -> redis.asyncio.Redis:
    """A client for one who waits for news as long as it takes."""
    return _asyncio(url, **_SHARED)


def blocking(url: str) -> redis.Redis:
    """A client for threads."""
    made: redis.Redis = connect(
        url,
        redis=redis.Redis,
        sentinel=redis.sentinel.Sentinel,
        no_retry=Retry(NoBackoff(), 0),
        socket_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 1),
        **_SHARED,
    )
    return made


async def close(client: redis.asyncio.Redis) -> None:
    """Close a client, and what it asks Sentinels with."""
    await client.aclose()
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    if manager is not None:
        await manager.aclose()


def _asyncio(url: str, **options: Any) -> redis.asyncio.Redis:
    made: redis.asyncio.Redis = connect(
        url,
        redis=redis.asyncio.Redis,
        sentinel=redis.asyncio.sentinel.Sentinel,
        no_retry=AsyncRetry(NoBackoff(), 0),
        **options,
    )
    return _losing(made)


class _Losing:
    """A connection that is lost, and no accident, when it ends while it is written to."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            if CLOSED not in str(error):
                raise
            raise LostConnection("the connection ended while it was written to") from error


def _losing(client: redis.asyncio.Redis) -> redis.asyncio.Redis:
    """The client, whose connections from now on are of this kind, too."""
    pool = client.connection_pool
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_Losing, kind), {})
    return client
