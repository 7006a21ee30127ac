"""What Redis is told of this worker itself: that it lives, what it can draw, and how fast it is.

Knows no generation.
"""

import time
from collections.abc import Sequence

from redis import Redis

from wire import keys
from wire.schemas import ModelCard, WorkerState

WORKER_TTL = 15
_OFFERS_SECONDS = 30 * 24 * 3600  # a model that nobody has had for so long is forgotten


class Presence:
    """One worker's, by its name."""

    def __init__(self, redis: Redis, worker: str) -> None:
        self._redis, self._worker = redis, worker

    def offer(self, cards: Sequence[ModelCard]) -> None:
        """Tell the API about models; their cards outlive this worker."""
        now = time.time()
        with self._redis.pipeline() as pipe:
            if cards:
                pipe.hset(
                    keys.MODELS, mapping={card.version: card.model_dump_json() for card in cards}
                )
                pipe.zadd(keys.SERVED, {card.version: now for card in cards})
                pipe.zadd(keys.DRAWABLE, {v: now for card in cards for v in card.versions})
            pipe.zrangebyscore(keys.DRAWABLE, 0, now - _OFFERS_SECONDS)
            old: list[bytes] = pipe.execute()[-1]
        if old:
            with self._redis.pipeline() as pipe:
                pipe.hdel(keys.MODELS, *old)
                pipe.zrem(keys.SERVED, *old)
                pipe.zrem(keys.DRAWABLE, *old)
                pipe.execute()

    def heartbeat(
        self, cards: Sequence[ModelCard], *, pace: float, full: float, lone: float
    ) -> None:
        """This worker's engine is alive, can draw these models, and is so fast (`meter.Speed`)."""
        key = keys.worker(self._worker)
        state = WorkerState(
            served=[card.version for card in cards],
            versions=[version for card in cards for version in card.versions],
            pace=pace,
            full_step_seconds=full,
            lone_step_seconds=lone,
        )
        with self._redis.pipeline() as pipe:
            if cards:
                pipe.set(key, state.model_dump_json(), ex=WORKER_TTL)
                pipe.sadd(keys.WORKERS, self._worker)
            else:
                pipe.delete(key)
            pipe.execute()

    def farewell(self) -> None:
        """This worker is leaving."""
        with self._redis.pipeline() as pipe:
            pipe.delete(keys.worker(self._worker))
            pipe.srem(keys.WORKERS, self._worker)
            pipe.execute()
