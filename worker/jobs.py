"""RQ, in this one file: jobs are taken, kept alive, given back and recovered here.

One RQ job per generation; the job is data (its id), never a function to call. `execute_job` runs a
*busy period*: while rows are in the engine, this thread takes more jobs without blocking, applies
cancels, passes results on and sends heartbeats, and the engine steps in its own thread.

A job is in exactly one of three places: the queue's list, the intermediate list (popped, for a
moment), or the started registry with a time at which it counts as abandoned. `recover` puts
abandoned jobs back at the queue's front, so a killed worker's requests go on elsewhere. Delivery
is at least once; `worker.ledger` makes repeats harmless.
"""

import logging
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from wire.keys import QUEUE
from worker.desk import Desk

log = logging.getLogger("emaki.worker")

ABANDONED_AFTER = 12  # seconds without a heartbeat
_HEARTBEAT_EVERY = 3.0
_HOUSEKEEPING_EVERY = 2.0
_TICK = 0.01
_REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)

# Moves a job back to the queue's front if, and only if, it is still where it was seen.
_REQUEUE_STARTED = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LREM', KEYS[2], 0, ARGV[2])
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
"""
_REQUEUE_POPPED = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('LREM', KEYS[2], 0, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
return 1
"""


@dataclass
class _Held:
    job: Job
    execution: Execution


class EngineWorker(SimpleWorker):
    """An RQ worker whose jobs share the engine's batch."""

    max_connection_wait_time = 2.0
    log_result_lifespan = False

    def __init__(self, redis: Redis, desk: Desk, *, drain_seconds: float) -> None:
        super().__init__(
            [Queue(QUEUE, connection=redis, serializer=JSONSerializer)],
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=ABANDONED_AFTER,
            maintenance_interval=int(_HOUSEKEEPING_EVERY),
            log_job_description=False,
        )
        self.stopping = False
        self._desk = desk
        self._drain_seconds = drain_seconds
        self._held: dict[str, _Held] = {}
        self._popped_before: set[str] = set()
        self._beat_at = self._kept_at = 0.0
        self._requeue_started = redis.register_script(_REQUEUE_STARTED)
        self._requeue_popped = redis.register_script(_REQUEUE_POPPED)

    @property
    def dequeue_timeout(self) -> int:
        """Seconds an idle worker blocks before it looks after the house again."""
        return int(_HOUSEKEEPING_EVERY)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: finish what runs within a bounded time, leave the rest queued."""
        self.stopping = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a busy period that begins with this job."""
        try:
            self._accept(job, queue)
        except _REDIS_AWAY as error:
            log.warning("Redis is away (%s); generation %s is taken up again later", error, job.id)
            return
        deadline: float | None = None
        while self._held:
            try:
                self._tick(queue)
            except _REDIS_AWAY as error:
                log.warning("Redis is away (%s); drawing goes on, results wait", error)
                time.sleep(0.5)
            if self.stopping and deadline is None:
                deadline = time.monotonic() + self._drain_seconds
                log.info("stopping: %d requests are being finished", len(self._held))
            if deadline is not None and time.monotonic() > deadline:
                self._give_back(queue)
        self.set_state(WorkerStatus.IDLE)

    def clean_registries(self) -> None:
        """RQ's maintenance hook, called while idle."""
        self._housekeeping(self.queues[0])
        self.last_cleaned_at = now()  # type: ignore[assignment]  # rq declares it as None

    def _tick(self, queue: Queue) -> None:
        self._desk.serve(wait=_TICK)
        for id_ in [id_ for id_ in self._held if not self._desk.holds(id_)]:
            self._release(self._held.pop(id_))
        while not self.stopping and self._desk.has_room:
            taken = Queue.dequeue_any(
                [queue], None, connection=self.connection, serializer=JSONSerializer
            )
            if taken is None:
                break
            self._accept(taken[0], queue)
        moment = time.monotonic()
        if moment - self._beat_at > _HEARTBEAT_EVERY:
            self._beat_at = moment
            self._keep_alive()
        if moment - self._kept_at > _HOUSEKEEPING_EVERY:
            self._housekeeping(queue)

    def _accept(self, job: Job, queue: Queue) -> None:
        """Move a popped job into the started registry and open its generation."""
        with self.connection.pipeline() as pipe:
            execution = Execution.create(job, ABANDONED_AFTER, pipe, worker_name=self.name)
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            pipe.execute()
        held = _Held(job, execution)
        # Held already: this worker was taken for dead, and popped its own job again.
        if self._desk.holds(job.id) or self._desk.accept(job.id):
            self._held[job.id] = held
        else:
            self._release(held)

    def _release(self, held: _Held) -> None:
        """A generation has ended: its job is no longer needed."""
        with self.connection.pipeline() as pipe:
            held.execution.delete(job=held.job, pipeline=pipe)
            pipe.delete(held.job.key)
            pipe.execute()

    def _give_back(self, queue: Queue) -> None:
        """Out of time: what is unfinished goes to the queue's front, for another worker."""
        log.info("giving %d unfinished requests back to the queue", len(self._held))
        for id_, held in list(self._held.items())[::-1]:
            self._desk.drop(id_)
            self._requeue(queue, held.execution.composite_key, id_)
            del self._held[id_]

    def _keep_alive(self) -> None:
        """Heartbeats for everything held, but only while the engine's steps advance."""
        if not self._desk.advancing():
            log.error("the engine makes no steps; heartbeats stop, so another worker takes over")
            return
        registry = self._registry(self.queues[0])
        with self.connection.pipeline() as pipe:
            self.heartbeat(pipeline=pipe)
            for held in self._held.values():
                held.execution.heartbeat(registry, ABANDONED_AFTER, pipeline=pipe)
            pipe.execute()

    def _housekeeping(self, queue: Queue) -> None:
        self._kept_at = time.monotonic()
        self._desk.housekeeping()
        self._recover(queue)

    def _recover(self, queue: Queue) -> None:
        """Put abandoned jobs back at the queue's front."""
        registry = self._registry(queue)
        for composite in _texts(self.connection.zrangebyscore(registry.key, 0, time.time())):
            job_id = composite.rpartition(":")[0]
            if self._requeue(queue, composite, job_id):
                log.warning("generation %s was abandoned by its worker; queued again", job_id)
        popped = set(_texts(self.connection.lrange(queue.intermediate_queue_key, 0, -1)))
        for job_id in popped & self._popped_before:
            keys = [queue.intermediate_queue_key, queue.key]
            if self._requeue_popped(keys=keys, args=[job_id]):
                log.warning("generation %s was popped and forgotten; queued again", job_id)
        self._popped_before = popped

    def _requeue(self, queue: Queue, composite_key: str, job_id: str) -> bool:
        keys = [self._registry(queue).key, queue.key]
        return bool(self._requeue_started(keys=keys, args=[composite_key, job_id]))

    def _registry(self, queue: Queue) -> StartedJobRegistry:
        return StartedJobRegistry(queue=queue, serializer=JSONSerializer)


def _texts(answer: Any) -> list[str]:
    return [entry.decode() for entry in answer]
