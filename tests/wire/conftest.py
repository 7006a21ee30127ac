"""A Redis of its own, emptied for each test, and a generation's life on it."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from serve.embedded import EmbeddedRedis
from tests.support import fresh_record
from wire import keys, life
from wire.life import Admission, Call, Hand, Life, Outcome, Taken
from wire.record import Record

VERSION = "tiny@0000001"


@dataclass
class World:
    """Redis, and what app and workers do there; the worker is ``a`` unless another is named."""

    redis: Any
    run: Life = field(init=False)

    def __post_init__(self) -> None:
        self.run = Life(self.redis)

    def record(self, owner: str = "", **changes: Any) -> Record:
        return fresh_record(owner, **changes)

    def admit(self, record: Record, **limits: Any) -> Admission:
        """As `app.queue` does: the job and the record in one transaction."""
        wanted = {"reserved": 0, "most_queued": 100, "most_stored": 0, **limits}
        queue = Queue(keys.QUEUE, connection=self.redis, serializer=JSONSerializer)
        job = Job.create(
            keys.FUNCTION, id=record.id, connection=self.redis, serializer=JSONSerializer
        )
        call = life.admit(record, **wanted)
        with self.redis.pipeline(transaction=True) as pipe:
            queue.enqueue_job(job, pipeline=pipe)
            life.append(pipe, call)
            return call.read(pipe.execute()[-1])

    def accepted(self, owner: str = "", **changes: Any) -> Record:
        record = self.record(owner, **changes)
        assert self.admit(record).outcome is Outcome.ACCEPTED
        return record

    def hand(self, worker: str = "a", execution: str | None = None) -> Hand:
        """A worker's, for a take of its own; by default its executions have its name."""
        return Hand(
            worker=worker,
            rq_worker=f"rq-{worker}",
            execution=execution or worker,
            abandoned_at=time.time() + 60,
            moment=utcformat(now()),
        )

    def takes(
        self,
        *versions: str,
        hand: Hand | None = None,
        held: dict[str, int] | None = None,
        room: int = 1,
        most: int = 1,
    ) -> Call[list[Taken]]:
        if hand is None:
            hand = self.hand(execution=uuid.uuid4().hex)
        return life.take(
            versions or [VERSION],
            held or {},
            hand,
            now=time.time(),
            room=room,
            most=most,
        )

    def take(self, *versions: str, **wanted: Any) -> str | None:
        """The id of the next job, in hand now."""
        taken = self.run(self.takes(*versions, **wanted))
        return taken[0].id if taken else None

    def opened(self, owner: str = "", worker: str = "a", **changes: Any) -> Record:
        """Accepted, popped by RQ, and opened by a worker."""
        record = self.accepted(owner, **changes)
        self.open(record, worker)
        return record

    def open(self, record: Record, worker: str) -> Taken:
        """As a worker does that RQ has given a job."""
        assert self.redis.lrem(keys.QUEUE_LIST, 1, record.id) == 1
        self.redis.rpush(keys.POPPED, record.id)
        return self.run(life.open_(record.id, self.hand(worker)))

    def running(self, worker: str = "a", **changes: Any) -> Record:
        record = self.opened(worker=worker, **changes)
        assert self.run(life.start(record, worker, now=time.time()))
        return record

    def requeue(self, record: Record, worker: str = "a", how: Any = "abandoned") -> bool:
        entry = f"{record.id}:{worker}"
        call = life.requeue(record.id, place=keys.STARTED, entry=entry, now=time.time(), how=how)
        return self.run(call)

    def field(self, record: Record, name: str) -> str | None:
        value = self.redis.hget(keys.generation(record.id), name)
        return None if value is None else value.decode()

    def status(self, record: Record) -> str | None:
        return self.field(record, "status")

    def events(self, record: Record) -> list[str]:
        return [f[b"event"].decode() for _, f in self.redis.xrange(keys.events(record.id))]

    def queue(self) -> list[str]:
        return [id_.decode() for id_ in self.redis.lrange(keys.QUEUE_LIST, 0, -1)]

    def queued(self, owner: str | None = None) -> int:
        name = "pictures" if owner is None else f"pictures:{owner}"
        return int(self.redis.hget(keys.QUEUED, name) or 0)

    def backlog(self, owner: str = "") -> int:
        return int(self.redis.hget(keys.BACKLOG, owner) or 0)

    def stored(self, owner: str = "") -> int:
        return int(self.redis.hget(keys.stored(owner), "total") or 0)

    def everything(self) -> dict[str, Any]:
        """All of Redis, to see that a repetition changes nothing."""
        read = {
            b"hash": self.redis.hgetall,
            b"string": self.redis.get,
            b"set": self.redis.smembers,
            b"list": lambda key: self.redis.lrange(key, 0, -1),
            b"zset": lambda key: self.redis.zrange(key, 0, -1, withscores=True),
            b"stream": self.redis.xrange,
        }
        return {k.decode(): read[self.redis.type(k)](k) for k in self.redis.scan_iter()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    started = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def world(server: EmbeddedRedis) -> Iterator[World]:
    with Redis.from_url(server.url) as redis:
        redis.flushall()
        yield World(redis)
