"""News of generations: one subscription per process wakes whoever waits for an id.

So a thousand open streams cost Redis one connection. A wake-up says "look again", nothing more;
whoever waits also looks again by itself now and then, so a lost message only delays. Who waits for
the end alone is not woken by what comes before it.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from wire.keys import WAKE

log = logging.getLogger("emaki.app")
LOOK_AGAIN_SECONDS = (10.0, 20.0)  # at random: streams opened together do not look together


class Wakes:
    """Run `listen` as a task; `watch` an id, then `wait`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.stopped = False
        # By what they wait for: "<id>" any news, "<id> done" the end.
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Pass messages on for ever; when Redis goes away, say so once and try again."""
        away = False
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(WAKE)
                    if away:
                        log.info("Redis is back")
                    away = False
                    self._wake_all()
                    while True:
                        message = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=30
                        )
                        if message:
                            self._wake(message["data"].decode())
            except RedisError as error:
                if not away:
                    log.warning("Redis is away (%s); trying again every second", error)
                away = True
                await asyncio.sleep(1)

    def stop(self) -> None:
        """Nobody is to wait any longer: this process stops."""
        self.stopped = True
        self._wake_all()

    @contextmanager
    def watch(self, id_: str, *, end: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set whenever the generation has news; clear it before looking.

        Args:
            end: only the end is news.
        """
        event, what = asyncio.Event(), f"{id_} done" if end else id_
        self._waiting[what].add(event)
        try:
            yield event
        finally:
            self._waiting[what].discard(event)
            if not self._waiting[what]:
                del self._waiting[what]

    @staticmethod
    async def wait(event: asyncio.Event, *, seconds: float = LOOK_AGAIN_SECONDS[1]) -> bool:
        """Until the event is set, or for so many seconds; whether it was set."""
        patience = random.uniform(*LOOK_AGAIN_SECONDS)  # noqa: S311 - no secret
        try:
            async with asyncio.timeout(min(seconds, patience)):
                return await event.wait()
        except TimeoutError:
            return False

    def _wake(self, message: str) -> None:
        for what in (message, message.partition(" ")[0]):
            for event in self._waiting.get(what, ()):
                event.set()

    def _wake_all(self) -> None:
        for what in list(self._waiting):
            self._wake(what)
