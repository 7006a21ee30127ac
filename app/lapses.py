"""What waits in vain fails, and says why: nobody's request waits for ever.

Runs in every API process, also while no worker lives; a transition applies once, whoever runs it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.offers import OfferBook
from app.settings import AppSettings
from wire import keys, life
from wire.life import AsyncLife
from wire.record import Record
from wire.schemas import ErrorInfo

log = logging.getLogger("emaki.app")
_MOST_AT_ONCE = 100
_LOOKS_PER_TTL = 10
_LONGEST_PAUSE = 30.0


class Lapses:
    """Run `watch` as a task."""

    def __init__(self, redis: Redis, offers: OfferBook, settings: AppSettings) -> None:
        self._redis, self._offers = redis, offers
        self._queue_ttl, self._model_ttl = settings.queue_ttl, settings.model_ttl
        self._life = AsyncLife(redis)

    async def watch(self) -> None:
        """Look now and then, for ever."""
        pause = min(self._queue_ttl, self._model_ttl) / _LOOKS_PER_TTL
        while True:
            await asyncio.sleep(min(pause, _LONGEST_PAUSE))
            try:
                await self.look()
            except RedisError as error:
                log.debug("Redis is away (%s); what waits too long is looked for later", error)
            except Exception:
                log.exception("what waits too long was not ended; it is looked for again")

    async def look(self) -> None:
        """End what has waited too long, or for a version that nobody has."""
        before = time.time() - self._queue_ttl
        late: Any = await self._redis.zrangebyscore(keys.WAITS, 0, before, 0, _MOST_AT_ONCE)
        await self._end(
            [id_.decode() for id_ in late],
            ErrorInfo(
                code="queue_timeout",
                detail=f"no worker took this within {self._queue_ttl:g} s (EMAKI_QUEUE_TTL); "
                "submit it again when GET /readyz answers 200",
            ),
        )
        async for version, ids in self._in_vain():
            await self._end(
                ids,
                ErrorInfo(
                    code="model_unavailable",
                    detail=f"workers live, and for {self._model_ttl:g} s none of them has had "
                    f"{version} (EMAKI_MODEL_TTL); GET /v1/models lists what can be drawn",
                ),
            )

    async def _in_vain(self) -> AsyncIterator[tuple[str, list[str]]]:
        """What waits for a version that no live worker has had for so long."""
        waited_for: Any = await self._redis.smembers(keys.WAITING)
        offers = await self._offers.now()
        for name in waited_for:
            version = name.decode()
            if not offers.workers or version in offers.drawable:
                continue
            owners: Any = await self._redis.zrange(keys.owners(version), 0, -1)
            for owner in owners:
                waiting = keys.waiting(version, owner.decode())
                ids: Any = await self._redis.zrange(waiting, 0, _MOST_AT_ONCE - 1)
                yield version, [id_.decode() for id_ in ids]

    async def _end(self, ids: list[str], error: ErrorInfo) -> None:
        for id_ in ids:
            data: Any = await self._redis.hgetall(keys.generation(id_))
            if not data:
                await self._redis.zrem(keys.WAITS, id_)
                continue
            try:
                lapse = life.lapse(Record.from_hash(data), error)
            except (KeyError, ValueError):  # another release accepted it
                lapse = life.lapse_unread(id_, error, data)
            if await self._life(lapse):
                log.warning("generation %s has failed: %s", id_, error.detail)
