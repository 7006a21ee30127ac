"""What the API reads from Redis: records, images, events, model cards, live workers."""

import dataclasses
import re
import time
from functools import lru_cache
from typing import Any

from redis.asyncio import Redis

from app.problems import GenerationExpired, GenerationNotFound
from app.queue import SubmitQueue
from wire import keys, scripts
from wire.record import Record
from wire.schemas import Generation, ModelCard, Status

_STREAM_PAGE = 200
_ID = re.compile(r"[0-9a-f]{32}")


class Store:
    """All answers are as fresh as Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._cancel = redis.register_script(scripts.CANCEL)

    async def record(self, id_: str, owner: str) -> Record:
        """A generation's record.

        Raises:
            GenerationNotFound: unknown, or another key's.
            GenerationExpired: its results are gone.
        """
        if not _ID.fullmatch(id_):
            raise GenerationNotFound(id_)
        data = await self._redis.hgetall(keys.generation(id_))
        if not data:
            if await self._redis.exists(keys.gone(id_)):
                raise GenerationExpired(id_)
            raise GenerationNotFound(id_)
        record = Record.from_hash(data)
        if record.owner != owner:
            raise GenerationNotFound(id_)
        return record

    async def view(self, record: Record) -> Generation:
        """The object that clients see, with the place in the queue."""
        position = None
        if record.status is Status.QUEUED:
            index: Any = await self._redis.lpos(SubmitQueue.list_key(), record.id)
            position = None if index is None else int(index) + 1
        return record.generation(now=time.time(), queue_position=position)

    async def png(self, id_: str, index: int | str) -> bytes | None:
        """An image's bytes by its index, or the strip's; or None."""
        data: Any = await self._redis.hget(keys.images(id_), str(index))
        return bytes(data) if data is not None else None

    async def all_pngs(self, record: Record) -> list[bytes]:
        """Every image of a generation that is there, in order."""
        indices = [str(index) for index in range(record.request.batch)]
        found: Any = await self._redis.hmget(keys.images(record.id), indices)
        return [data for data in found if data is not None]

    async def events(self, id_: str, after: str) -> list[tuple[str, str, str]]:
        """The next events after an event id, as (id, name, JSON)."""
        start = f"({after}"
        page: Any = await self._redis.xrange(keys.events(id_), start, "+", count=_STREAM_PAGE)
        return [
            (entry.decode(), fields[b"event"].decode(), fields[b"data"].decode())
            for entry, fields in page
        ]

    async def cancel(self, record: Record) -> bool:
        """Cancel it if it is queued, else ask its worker to; False: it has ended already."""
        names, arguments = scripts.finish_call(dataclasses.replace(record), Status.CANCELED)
        names += [
            SubmitQueue.list_key(),
            keys.waiting(record.model, record.owner),
            SubmitQueue.job_key(record.id),
        ]
        answer = await self._cancel(keys=names, args=arguments)
        return int(answer) >= 0

    async def card(self, name: str) -> ModelCard | None:
        """One model's card."""
        raw: Any = await self._redis.hget(keys.MODELS, name)
        return None if raw is None else _card(raw)

    async def cards(self) -> list[ModelCard]:
        """All cards, by name."""
        raw: Any = await self._redis.hgetall(keys.MODELS)
        return [_card(raw[name]) for name in sorted(raw)]

    async def counts(self) -> tuple[dict[str, int], int]:
        """What workers have counted, and how many requests wait."""
        counted: Any = await self._redis.hgetall(keys.METRICS)
        queued: Any = await self._redis.llen(SubmitQueue.list_key())
        return {name.decode(): int(value) for name, value in counted.items()}, int(queued)

    async def live_models(self) -> tuple[int, list[str]]:
        """How many workers are alive, and the models that they hold."""
        names: Any = list(await self._redis.smembers(keys.WORKERS))
        if not names:
            return 0, []
        held: Any = await self._redis.mget([keys.worker(name.decode()) for name in names])
        gone = [name for name, models in zip(names, held, strict=True) if models is None]
        if gone:
            await self._redis.srem(keys.WORKERS, *gone)
        alive = [models.decode().split(",") for models in held if models is not None]
        return len(alive), sorted({model for models in alive for model in models})


@lru_cache(maxsize=256)
def _card(raw: bytes) -> ModelCard:
    return ModelCard.model_validate_json(raw)
