"""What can be drawn: the union of what workers offer, and how fast they are.

Workers publish a card for each version that they serve, and say now and then which versions they
can draw; cards outlive them. A model stays listed while no worker lives at all, for its requests
are accepted and wait; while workers live, until none has had it for `EMAKI_MODEL_TTL`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from redis.asyncio import Redis

from wire import keys
from wire.schemas import ModelCard, WorkerState

_FRESH_SECONDS = 0.5


@dataclass(frozen=True)
class Offers:
    """What was there at one moment; `cards` by name."""

    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    workers: Sequence[WorkerState] = ()
    drawable: frozenset[str] = frozenset()  # versions that may be asked for


class OfferBook:
    """Reads the offers; an answer may be half a second old, but never lacks a model for that."""

    def __init__(self, redis: Redis, *, model_ttl: float) -> None:
        self._redis, self._model_ttl = redis, model_ttl
        self._offers = Offers()
        self._read_at = float("-inf")

    async def card(self, name: str) -> ModelCard | None:
        """One model's card."""
        return (await self.now()).cards.get(name) or (await self._read()).cards.get(name)

    async def now(self) -> Offers:
        """What is there."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            return await self._read()
        return self._offers

    async def _read(self) -> Offers:
        workers = await self.workers()
        cutoff = time.time() - self._model_ttl if workers else 0.0
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.MODELS)
            pipe.zrange(keys.SERVED, 0, -1, withscores=True)
            pipe.zrangebyscore(keys.DRAWABLE, cutoff, "+inf")
            cards, served, drawable = await pipe.execute()
        versions = frozenset(version.decode() for version in drawable)
        self._offers = Offers(
            cards=_union(
                {version.decode(): _card(raw) for version, raw in cards.items() if b"@" in version},
                served={version.decode(): when for version, when in served},
                drawable=versions,
                workers=workers,
            ),
            workers=workers,
            drawable=versions,
        )
        self._read_at = time.monotonic()
        return self._offers

    async def workers(self) -> list[WorkerState]:
        """Every live worker, as it is now."""
        names: Any = list(await self._redis.smembers(keys.WORKERS))
        if not names:
            return []
        states: Any = await self._redis.mget([keys.worker(name.decode()) for name in names])
        gone = [name for name, state in zip(names, states, strict=True) if state is None]
        if gone:
            await self._redis.srem(keys.WORKERS, *gone)
        return [WorkerState.model_validate_json(state) for state in states if state is not None]


def _union(
    cards: Mapping[str, ModelCard],
    *,
    served: Mapping[str, float],
    drawable: frozenset[str],
    workers: Sequence[WorkerState],
) -> dict[str, ModelCard]:
    """One card a model: of the served version that most workers can draw, the newest of these."""
    able = Counter(version for worker in workers for version in worker.versions)
    serving = {version for worker in workers for version in worker.served}
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for version in drawable:
        by_name[version.partition("@")[0]].append(version)
    union = {}
    for name, versions in by_name.items():
        known = [version for version in versions if version in cards]
        if not known:
            continue
        live = [version for version in known if version in serving]
        if live:
            chosen = max(live, key=lambda version: (able[version], version))
        else:
            chosen = max(known, key=lambda version: (served.get(version, 0.0), version))
        union[name] = cards[chosen].model_copy(update={"versions": sorted(versions)})
    return union


@lru_cache(maxsize=256)
def _card(raw: bytes) -> ModelCard:
    return ModelCard.model_validate_json(raw)
