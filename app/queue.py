"""RQ on the API's side, in this one file: a record and its job enter Redis together, or neither.

The job is data: its id names the generation, its function is a name that nobody imports.
"""

from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from app.exceptions import QueueFull
from wire import keys
from wire.admission import ADMIT
from wire.record import Record

IDEMPOTENCY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Idempotency:
    """An Idempotency-Key of a request: where it is kept, and the digest of what was asked."""

    key: str
    fingerprint: str


class SubmitQueue:
    """Blocking; call it from a thread. One connection pool serves all threads."""

    def __init__(self, redis: Redis, *, max_pictures: int) -> None:
        self._redis, self._max_pictures = redis, max_pictures

    def submit(
        self, record: Record, idempotency: Idempotency | None = None
    ) -> tuple[Literal["accepted", "replay", "conflict"], str]:
        """Store the record and queue its job.

        Returns:
            What became of it, and the generation to answer with: an earlier one's id where the
            Idempotency-Key was used before.

        Raises:
            QueueFull: there is no room for so many pictures.
        """
        queue = Queue(keys.QUEUE, connection=self._redis, serializer=JSONSerializer)
        job = Job.create(
            keys.JOB,
            id=record.id,
            connection=self._redis,
            serializer=JSONSerializer,
            timeout=-1,
            description=keys.JOB,
        )
        names = [
            keys.generation(record.id),
            queue.key,
            job.key,
            keys.waiting(record.model, record.owner),
            keys.owners(record.model),
            keys.history(record.owner),
        ]
        if idempotency:  # last; an empty name would be a key that no Redis user has a right to
            names.append(idempotency.key)
        arguments: list[Any] = [
            record.id,
            self._max_pictures,
            record.request.batch,
            record.work,
            record.owner,
            record.created,
            record.history_member,
            idempotency.fingerprint if idempotency else "",
            IDEMPOTENCY_SECONDS,
        ]
        for field in record.to_hash().items():
            arguments += field
        with self._redis.pipeline(transaction=True) as pipe:
            queue.enqueue_job(job, pipeline=pipe)  # first: it opens the transaction by itself
            pipe.eval(ADMIT, len(names), *names, *arguments)
            outcome, detail = (text.decode() for text in pipe.execute()[-1])
        if outcome == "full":
            raise QueueFull(int(detail), self._max_pictures, record.request.batch)
        return outcome, record.id if outcome == "accepted" else detail

    @staticmethod
    def list_key() -> str:
        """The Redis list of waiting ids, next first."""
        return f"{Queue.redis_queue_namespace_prefix}{keys.QUEUE}"

    @staticmethod
    def job_key(id_: str) -> str:
        """The job's own key."""
        return str(Job.key_for(id_))
