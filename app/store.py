"""What the API reads from Redis and changes there: records, images, events."""

import asyncio
import json
import re
import time
from typing import Any

from redis.asyncio import Redis

from app import history
from app.estimate import seconds_left
from app.exceptions import GenerationExpired, GenerationNotFound
from app.history import Wanted
from app.offers import OfferBook
from wire import keys, life
from wire.images import Images, image_name, strip_name
from wire.life import AsyncLife, Canceled, Delivery, Looked
from wire.record import Record, image_field
from wire.schemas import Generation, Status
from wire.webhook import queue

STREAM_PAGE = 8  # events read at once: previews are large, and a client may not be reading
_ID = re.compile(r"[0-9a-f]{32}")


class Store:
    """All answers are as fresh as Redis; only the workers' pace, for estimates, may be older."""

    def __init__(self, redis: Redis, offers: OfferBook, images: Images | None = None) -> None:
        self._redis, self._offers, self._images = redis, offers, images
        self._life = AsyncLife(redis)

    async def record(self, id_: str, owner: str) -> Record:
        """A generation's record.

        Raises:
            GenerationNotFound: unknown, or another key's.
            GenerationExpired: its results are gone.
        """
        if not _ID.fullmatch(id_):
            raise GenerationNotFound(id_)
        return await self._parsed(id_, owner, await self._redis.hgetall(keys.generation(id_)))

    async def poll(self, id_: str, owner: str) -> Generation:
        """`record` and `view` in one round trip to Redis."""
        if not _ID.fullmatch(id_):
            raise GenerationNotFound(id_)
        looked = await self._life(life.look(id_))
        return await self._shown(await self._parsed(id_, owner, looked.fields), looked)

    async def view(self, record: Record) -> Generation:
        """The object that clients see, with the place in the queue and an estimate of the end."""
        looked = Looked({})
        if record.status is Status.QUEUED:
            looked = await self._life(life.look(record.id))
        return await self._shown(record, looked)

    async def _parsed(self, id_: str, owner: str, data: dict[Any, Any]) -> Record:
        if not data:
            if await self._redis.get(keys.gone(id_)) == owner.encode():
                raise GenerationExpired(id_)
            raise GenerationNotFound(id_)
        record = Record.from_hash(data)
        if record.owner != owner:
            raise GenerationNotFound(id_)
        return record

    async def _shown(self, record: Record, looked: Looked) -> Generation:
        now, request = time.time(), record.request
        if record.status is not Status.QUEUED:
            return record.generation(now=now)
        position = looked.place or 1  # a worker has popped it, a moment ago
        eta = seconds_left(
            (await self._offers.now()).workers,
            version=request.model,
            evaluations=looked.evaluations or request.evaluations,
            backlog=looked.backlog or request.evaluations,
            steps=request.drawn_steps,
        )
        return record.generation(now=now, queue_position=position, queue_eta=eta)

    async def history(
        self, owner: str, wanted: Wanted, *, after: str | None, limit: int
    ) -> tuple[list[Record], str | None]:
        """Some of an owner's generations, newest first; see `app.history.page`."""
        return await history.page(self._redis, owner, wanted, after=after, limit=limit)

    async def png(self, id_: str, index: int | str) -> bytes | None:
        """An image's bytes by its index, or by name what is kept beside them; or None."""
        data: Any = await self._redis.hget(keys.images(id_), str(index))
        if data is not None or self._images is None or index in (keys.INIT, keys.MASK):
            return bytes(data) if data is not None else None
        name = strip_name(id_)
        if index != keys.STRIP:
            facts: Any = await self._redis.hget(keys.generation(id_), image_field(int(index)))
            if facts is None:
                return None
            name = image_name(id_, int(index), json.loads(facts)["sha256"])
        return (await asyncio.to_thread(self._images.read, [name]))[0]

    async def all_pngs(self, record: Record) -> list[bytes]:
        """Every image of a generation that is there, in order."""
        indices = [str(index) for index in range(record.request.batch)]
        found: Any = await self._redis.hmget(keys.images(record.id), indices)
        if self._images is not None and None in found:
            facts = record.images
            names = [image_name(record.id, i, facts[i]["sha256"]) for i in sorted(facts)]
            found = await asyncio.to_thread(self._images.read, names)
        return [data for data in found if data is not None]

    async def events(self, id_: str, after: str) -> list[tuple[str, str, str]]:
        """The next events after an event id, as (id, name, JSON)."""
        start = f"({after}"
        page: Any = await self._redis.xrange(keys.events(id_), start, "+", count=STREAM_PAGE)
        return [
            (entry.decode(), fields[b"event"].decode(), fields[b"data"].decode())
            for entry, fields in page
        ]

    async def cancel(self, record: Record) -> bool:
        """Cancel it if it is queued, else ask its worker to; False: it has ended already."""
        return await self._life(life.cancel(record)) is not Canceled.TOO_LATE

    async def delete(self, record: Record) -> None:
        """Remove everything of it, and ask whoever draws it to stop."""
        await self._life(life.delete(record))

    async def waiting_to_be_told(self, url: str, owner: str) -> int:
        """An owner's generations that wait to be told to a webhook's receiver."""
        return int(await self._redis.zcard(keys.due(queue(url, owner))))

    async def untold(self) -> tuple[int, int]:
        """Generations that wait to be told to webhooks; of these, whose time has come."""
        receivers: Any = await self._redis.smembers(keys.RECEIVERS)
        async with self._redis.pipeline(transaction=False) as pipe:
            for receiver in receivers:
                pipe.zcard(keys.due(receiver.decode()))
                pipe.zcount(keys.due(receiver.decode()), "-inf", time.time())
            counts = await pipe.execute()
        return sum(counts[::2]), sum(counts[1::2])

    async def dead_messages(
        self, owner: str, *, after: str | None, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """Some of an owner's messages that were given up, newest first, and where the next begin.

        Args:
            after: such a place, "<when> <id>"; None: the newest. That message may be gone by now.
        """
        died: Any = await self._redis.zrange(keys.died(owner), 0, -1, desc=True, withscores=True)
        places = [(when, id_.decode()) for id_, when in died]  # a thousand at most
        if after is not None:
            when, _, id_ = after.partition(" ")
            places = [place for place in places if place < (float(when), id_)]
        page = places[:limit]
        found: Any = []
        if page:
            found = await self._redis.hmget(keys.dead(owner), [id_ for _, id_ in page])
        more = f"{page[-1][0]!r} {page[-1][1]}" if len(places) > limit else None
        return [Delivery.read(text) for text in found if text is not None], more

    async def resend(self, owner: str, message: str) -> bool:
        """Try a message again that was given up; whether there was such a one."""
        return await self._life(life.resend(owner, message))

    async def first_answer(self, idempotency_key: str) -> tuple[str, str, str | None] | None:
        """What an Idempotency-Key stands for: generation, fingerprint, and the answer if known."""
        found: Any = await self._redis.hmget(idempotency_key, ["id", "fingerprint", "answer"])
        id_, fingerprint, answer = found
        if id_ is None:
            return None
        return id_.decode(), fingerprint.decode(), None if answer is None else answer.decode()

    async def keep_answer(self, idempotency_key: str, answer: str) -> None:
        """Keep the first answer beside an Idempotency-Key that was just used."""
        await self._redis.hset(idempotency_key, "answer", answer)

    async def counts(self) -> dict[str, float]:
        """What workers have counted."""
        counted: Any = await self._redis.hgetall(keys.METRICS)
        return {name.decode(): float(value) for name, value in counted.items()}

    async def queue(self) -> tuple[int, int, int]:
        """Requests in the queue; pictures accepted and not begun; evaluations not yet made."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.llen(keys.QUEUE_LIST)
            pipe.hget(keys.QUEUED, "pictures")
            pipe.hvals(keys.BACKLOG)
            requests, pictures, backlogs = await pipe.execute()
        return int(requests), max(0, int(pictures or 0)), max(0, sum(map(int, backlogs)))
