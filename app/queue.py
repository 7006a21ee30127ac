"""RQ on the API's side, in this one file: a record and its job enter Redis together.

The job is data: its id names the generation, its function is a name that nobody imports.
"""

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from wire import keys
from wire.record import Record


class SubmitQueue:
    """Blocking; call it from a thread. One connection pool serves all threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def submit(self, record: Record) -> None:
        """Store the record and queue its job, both or neither."""
        queue = Queue(keys.QUEUE, connection=self._redis, serializer=JSONSerializer)
        job = Job.create(
            keys.JOB,
            id=record.id,
            connection=self._redis,
            serializer=JSONSerializer,
            timeout=-1,
            description=keys.JOB,
        )
        with self._redis.pipeline(transaction=True) as pipe:
            queue.enqueue_job(job, pipeline=pipe)  # first: it opens the transaction by itself
            pipe.hset(keys.generation(record.id), mapping=record.to_hash())
            pipe.rpush(keys.waiting(record.model, record.owner), record.id)
            pipe.zadd(keys.owners(record.model), {record.owner: record.created}, nx=True)
            pipe.execute()

    @staticmethod
    def list_key() -> str:
        """The Redis list of waiting ids, next first."""
        return f"{Queue.redis_queue_namespace_prefix}{keys.QUEUE}"

    @staticmethod
    def job_key(id_: str) -> str:
        """The job's own key."""
        return str(Job.key_for(id_))
