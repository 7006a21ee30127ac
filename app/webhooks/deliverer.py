"""Claims what is due, tries it, and tells Redis what came of it.

Tries of one receiver are few at once, one while it fails, and others' do not wait for them. Nothing
is kept here: what a killed deliverer had claimed is due again when its lease ends.
"""

import asyncio
import logging
import random
import time
from collections import Counter

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.webhooks.sender import Sender, Tried
from wire import life
from wire.life import AsyncLife, Delivery
from wire.logs import fields

log = logging.getLogger("emaki.webhooks")
_MOST_AT_ONCE, _MOST_OF_ONE = 512, 8
_MOST_REMEMBERED = 4096
_LOOK_EVERY = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0
_AWAY_SECONDS = 1.0


def pause_after(tries: int) -> float:
    """Seconds until the next try: twice as long each time, up to an hour, less a random part."""
    longest = min(_FIRST_PAUSE * 2.0 ** min(tries, 20), _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Deliverer:
    """Run `run` as a task; `stopping` ends it, once what is under way has ended.

    Args:
        lease: seconds after which what is claimed here is due again.
        give_up: seconds for which a message is tried.
    """

    def __init__(self, redis: Redis, sender: Sender, *, lease: float, give_up: float) -> None:
        self._life, self._sender = AsyncLife(redis), sender
        self._lease, self._give_up = lease, give_up
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._failing: set[str] = set()  # receivers whose last try failed
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Deliver until told to stop."""
        away = False
        while not self.stopping.is_set():
            try:
                await self._look()
                away = False
            except RedisError as error:
                if not away:
                    log.warning("Redis is away (%s); trying again every second", error)
                away = True
            await self._rest(_AWAY_SECONDS if away else _LOOK_EVERY)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _look(self) -> None:
        now, busy = time.time(), Counter(self._under_way.values())
        for to in self._failing:
            busy[to] += _MOST_OF_ONE - 1
        claimed = await self._life(
            life.claim(
                now=now,
                lease=now + self._lease,
                room=_MOST_AT_ONCE - len(self._under_way),
                most=_MOST_OF_ONE,
                busy=busy,
            )
        )
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way[task] = delivery.to
            task.add_done_callback(self._under_way.pop)

    async def _rest(self, seconds: float) -> None:
        """A while, or until there is room for more of what is due."""
        stop = asyncio.create_task(self.stopping.wait())
        ends = asyncio.FIRST_COMPLETED
        await asyncio.wait({stop, *self._under_way}, timeout=seconds, return_when=ends)
        stop.cancel()

    async def _deliver(self, delivery: Delivery) -> None:
        tried = await self._sender.send(delivery)
        try:
            await self._life(self._told(delivery, tried))
        except RedisError as error:  # due again when the lease ends: a duplicate, never a loss
            log.warning("Redis is away (%s); message %s goes twice", error, delivery.id)

    def _told(self, delivery: Delivery, tried: Tried) -> life.Call[bool]:
        extra = fields(generation_id=delivery.generation)
        if not tried.why:
            self._failing.discard(delivery.to)
            log.debug("told %s of %s", delivery.to, delivery.event, extra=extra)
            return life.told(delivery, "delivered")
        if len(self._failing) < _MOST_REMEMBERED:
            self._failing.add(delivery.to)
        now = time.time()
        at = now + pause_after(delivery.tries)
        if tried.final or at > delivery.since + self._give_up:
            log.error("%s was not told: %s; given up", delivery.to, tried.why, extra=extra)
            return life.told(delivery, "dead", why=tried.why)
        log.warning("%s: %s; again in %.0f s", delivery.to, tried.why, at - now, extra=extra)
        return life.told(delivery, "later", at=at, why=tried.why)
