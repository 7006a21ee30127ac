"""The worker's client of Redis: of one server, or of the master that Sentinels name."""

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from wire.sentinel import connect


def client(url: str, **options: Any) -> Redis:
    """A blocking client; ``options`` are of each connection."""
    made: Redis = connect(
        url, redis=Redis, sentinel=Sentinel, no_retry=Retry(NoBackoff(), 0), **options
    )
    return made
