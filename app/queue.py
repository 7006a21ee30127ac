"""RQ on the API's side, in this one file: a record and its job enter Redis together, or neither.

The job is data: its id names the generation, its function is a name that nobody imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from app.exceptions import QueueFull, StorageFull
from wire import keys, life
from wire.life import Admission, Outcome
from wire.record import Record


@dataclass(frozen=True)
class Idempotency:
    """An Idempotency-Key of a request: where it is kept, and the digest of what was asked."""

    key: str
    fingerprint: str


class SubmitQueue:
    """Blocking; call it from a thread. One connection pool serves all threads.

    Args:
        max_pictures: that may wait; a key that has none there is let in all the same.
        max_stored: bytes that one key's results may take in Redis; 0: no limit.
    """

    def __init__(self, redis: Redis, *, max_pictures: int, max_stored: int = 0) -> None:
        self._redis, self._max_pictures, self._max_stored = redis, max_pictures, max_stored

    def submit(
        self,
        record: Record,
        idempotency: Idempotency | None = None,
        *,
        reserved: int = 0,
        inputs: Mapping[str, bytes] | None = None,
    ) -> Admission:
        """Store the record and queue its job.

        Args:
            reserved: bytes that its results may take.
            inputs: PNGs that it begins from, by the names in `wire.keys`.

        Returns:
            What became of it: accepted, or an earlier generation where the Idempotency-Key was
            used before.

        Raises:
            QueueFull: there is no room for so many pictures.
            StorageFull: there is none for their results.
        """
        queue = Queue(keys.QUEUE, connection=self._redis, serializer=JSONSerializer)
        job = Job.create(
            keys.FUNCTION,
            id=record.id,
            connection=self._redis,
            serializer=JSONSerializer,
            timeout=-1,
            description=keys.FUNCTION,
        )
        call = life.admit(
            record,
            reserved=reserved,
            most_queued=self._max_pictures,
            most_stored=self._max_stored,
            once=(idempotency.key, idempotency.fingerprint) if idempotency else ("", ""),
            inputs=inputs,
        )
        with self._redis.pipeline(transaction=True) as pipe:
            queue.enqueue_job(job, pipeline=pipe)  # first: it opens the transaction by itself
            life.append(pipe, call)
            admission = call.read(pipe.execute()[-1])
        if admission.outcome is Outcome.FULL:
            raise QueueFull(int(admission.detail), self._max_pictures, record.request.batch)
        if admission.outcome is Outcome.STORED:
            raise StorageFull(int(admission.detail), self._max_stored, reserved)
        return admission
