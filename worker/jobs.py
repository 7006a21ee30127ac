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
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, DeserializationError, NoSuchJobError
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from wire.admission import SETTLE
from wire.connect import takes_no_writes
from wire.images import ImagesAway
from wire.keys import QUEUE, generation, owners
from worker.desk import Accepted, Desk
from worker.queue_scripts import FORGET, REQUEUE, TAKE

log = logging.getLogger("emaki.worker")

_HOUSEKEEPING_EVERY = 2.0
_SHORTEST_TICK, _LONGEST_TICK = 0.005, 0.05
_OTHERS_WORK_PAUSE = 0.1  # between two looks at a queue that holds only other workers' models
_IMAGES_PAUSE = 0.5  # before another try to write a picture outside Redis
_HUNG_EXIT_CODE = 70
# What reading a job can raise that a stranger has written.
_NOT_A_JOB = (NoSuchJobError, DeserializationError, ValueError, TypeError, KeyError, AttributeError)
_REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)

_OVERCOMMIT = 4  # requests of one owner that are taken although no place is free
_MOST_HELD = 256


@dataclass
class _Held:
    job: Job
    execution: Execution


class DataQueue(Queue):
    """A queue whose jobs are data: what cannot be read as a job is dropped, with a line.

    A worker takes the jobs that are its own by `take`; it blocks for any job only while the queue
    is empty. (Two workers that took whatever comes first, and gave back what is the other's, could
    go on swapping two jobs for ever.)
    """

    take: Callable[[], Job | None]

    @classmethod
    def dequeue_any(
        cls, queues: Any, timeout: int | None, *args: Any, **kwargs: Any
    ) -> tuple[Job, Queue] | None:
        queue: DataQueue = queues[0]
        patience = time.monotonic() + (timeout or 0)
        while True:
            job = queue.take()
            if job is not None:
                return job, queue
            if queue.count:
                if time.monotonic() > patience:
                    raise DequeueTimeout(timeout, queue.key)
                time.sleep(_OTHERS_WORK_PAUSE)
                continue
            try:
                return super().dequeue_any(queues, timeout, *args, **kwargs)
            except _NOT_A_JOB as error:
                # It stays in the intermediate list, where `_recover` finds and drops it.
                log.error("a job in the queue makes no sense (%s)", error)


class EngineWorker(SimpleWorker):
    """An RQ worker whose jobs share the engine's batch."""

    queue_class = DataQueue
    max_connection_wait_time = 2.0
    log_result_lifespan = False

    def __init__(
        self, redis: Redis, desk: Desk, *, drain_seconds: float, worker_ttl: float
    ) -> None:
        queue = DataQueue(QUEUE, connection=redis, serializer=JSONSerializer)
        queue.take = lambda: self._take(queue)
        super().__init__(
            [queue],
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=60,
            maintenance_interval=int(_HOUSEKEEPING_EVERY),
            log_job_description=False,
        )
        self.stopping = False
        self._desk = desk
        self._drain_seconds = drain_seconds
        self._abandoned_after = math.ceil(worker_ttl)
        self._heartbeat_every = worker_ttl / 4
        self._held: dict[str, _Held] = {}
        self._popped_before: set[str] = set()
        self._beat_at = self._kept_at = 0.0
        self._take_script = redis.register_script(TAKE)
        self._requeue_script = redis.register_script(REQUEUE)
        self._forget_script = redis.register_script(FORGET)
        self._settle_script = redis.register_script(SETTLE)

    @property
    def dequeue_timeout(self) -> int:
        """Seconds an idle worker blocks before it looks after the house again."""
        return int(_HOUSEKEEPING_EVERY)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: finish what runs within a bounded time, leave the rest queued."""
        self.stopping = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """No: RQ's remote commands (stop this job, shut down) are nothing we take from Redis."""

    def unsubscribe(self) -> None:
        """Nothing to undo."""

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a busy period that begins with this job."""
        try:
            self._accept(job, queue)
        except RedisError as error:
            if not _passes(error):
                raise
            log.warning(
                "Redis is away or full (%s); generation %s is taken up again later", error, job.id
            )
            return
        deadline: float | None = None
        while self._held:
            try:
                self._tick(queue)
            except RedisError as error:
                if not _passes(error):
                    raise
                log.warning(
                    "Redis is away or takes no writes (%s); drawing goes on, results wait", error
                )
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
        # Half a step: cancels and newcomers are seen before the step after next.
        tick = min(max(self._desk.step_seconds / 2, _SHORTEST_TICK), _LONGEST_TICK)
        try:
            self._desk.serve(wait=tick)
        except ImagesAway as error:  # Redis is there: heartbeats and all else go on
            log.warning("%s; drawing goes on, results wait", error)
            time.sleep(_IMAGES_PAUSE)
        for id_ in [id_ for id_ in self._held if not self._desk.holds(id_)]:
            self._release(self._held.pop(id_))
        while not self.stopping and (job := self._take(queue)) is not None:
            self._accept(job, queue)
        moment = time.monotonic()
        if moment - self._beat_at > self._heartbeat_every:
            self._beat_at = moment
            self._keep_alive()
        if moment - self._kept_at > _HOUSEKEEPING_EVERY:
            self._housekeeping(queue)

    def _take(self, queue: Queue) -> Job | None:
        """The next job that should join, without waiting; None when nobody else may."""
        if len(self._held) >= _MOST_HELD:
            return None
        models = [owners(model) for model in self._desk.models]
        held = [part for pair in self._desk.owners.items() for part in pair]
        while True:
            taken = self._take_script(
                keys=[queue.key, queue.intermediate_queue_key, *models],
                args=[time.time(), int(self._desk.room > 0), _OVERCOMMIT, *held],
            )
            if taken is None:
                return None
            try:
                return Job.fetch(taken.decode(), self.connection, JSONSerializer)
            except _NOT_A_JOB as error:
                log.error("job %r in the queue makes no sense (%s); dropping it", taken, error)
            self.connection.lrem(queue.intermediate_queue_key, 1, taken)

    def _accept(self, job: Job, queue: Queue) -> None:
        """Move a popped job into the started registry and open its generation."""
        with self.connection.pipeline() as pipe:
            execution = Execution.create(job, self._abandoned_after, pipe, worker_name=self.name)
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            pipe.execute()
        held = _Held(job, execution)
        if self._desk.holds(job.id):
            # This worker was taken for dead, and popped its own job again: it begins anew.
            self._desk.drop(job.id)
            if (before := self._held.pop(job.id, None)) is not None:
                self._drop_execution(before)
        outcome = self._desk.accept(job.id)
        if outcome is Accepted.HELD:
            self._held[job.id] = held
        elif outcome is Accepted.NOT_OURS:
            self._requeue(
                queue, self._registry(queue).key, execution.composite_key, job.id, "elsewhere"
            )
            self._drop_execution(held)
        else:
            self._release(held)

    def _release(self, held: _Held) -> None:
        """Let go of a job: for good if its generation has ended, else it is another worker's."""
        with self.connection.pipeline() as pipe:
            held.execution.delete(job=held.job, pipeline=pipe)
            self._forget_script(
                keys=[generation(held.job.id), self.queues[0].key, held.job.key],
                args=[held.job.id],
                client=pipe,
            )
            pipe.execute()

    def _give_back(self, queue: Queue) -> None:
        """Out of time: what is unfinished goes to the queue's front, for another worker."""
        log.info("giving %d unfinished requests back to the queue", len(self._held))
        for id_, held in list(self._held.items())[::-1]:
            self._desk.drop(id_)
            self._requeue(
                queue, self._registry(queue).key, held.execution.composite_key, id_, "back"
            )
            self._drop_execution(held)
            del self._held[id_]

    def _drop_execution(self, held: _Held) -> None:
        """Remove what RQ keeps of an attempt that was given back."""
        with self.connection.pipeline() as pipe:
            held.execution.delete(job=held.job, pipeline=pipe)
            pipe.execute()

    def _keep_alive(self) -> None:
        """Heartbeats for everything held, but only while the engine's steps advance."""
        if self._desk.hung():
            log.critical("the engine hangs or has died; leaving, to be started again")
            logging.shutdown()
            os._exit(_HUNG_EXIT_CODE)
        if not self._desk.advancing():
            stalled = self._desk.stalled_seconds()
            log.error("no step for %.0f s; heartbeats stop, so others take over", stalled)
            return
        registry = self._registry(self.queues[0])
        with self.connection.pipeline() as pipe:
            self.heartbeat(pipeline=pipe)
            for held in self._held.values():
                held.execution.heartbeat(registry, self._abandoned_after, pipeline=pipe)
            pipe.execute()

    def _housekeeping(self, queue: Queue) -> None:
        self._kept_at = time.monotonic()
        self._desk.housekeeping()
        self._recover(queue)
        self._settle_script(
            keys=[queue.key, queue.intermediate_queue_key, self._registry(queue).key]
        )

    def _recover(self, queue: Queue) -> None:
        """Put abandoned jobs back at the queue's front."""
        registry = self._registry(queue)
        for composite in _texts(self.connection.zrangebyscore(registry.key, 0, time.time())):
            job_id = composite.rpartition(":")[0]
            if job_id in self._held:
                continue  # late, but alive: the next heartbeat says so
            if self._requeue(queue, registry.key, composite, job_id, "abandoned"):
                log.warning("generation %s was abandoned by its worker; queued again", job_id)
                self._desk.recovered()
        popped = set(self._popped(queue))
        for job_id in popped & self._popped_before:
            if self._requeue(queue, queue.intermediate_queue_key, job_id, job_id, "back"):
                log.warning("generation %s was popped and forgotten; queued again", job_id)
        self._popped_before = popped

    def _popped(self, queue: Queue) -> Iterator[str]:
        """Ids that somebody has popped and not yet registered; what is no job is dropped."""
        entries: Any = self.connection.lrange(queue.intermediate_queue_key, 0, -1)
        for entry in entries:
            try:
                job_id = entry.decode()
                Job.fetch(job_id, self.connection, JSONSerializer)
            except _NOT_A_JOB as error:
                log.error("job %r in the queue makes no sense (%s); dropping it", entry, error)
                self.connection.lrem(queue.intermediate_queue_key, 0, entry)
            else:
                yield job_id

    def _requeue(self, queue: Queue, where: str, entry: str, job_id: str, how: str) -> bool:
        keys = [where, queue.key, generation(job_id), Job.key_for(job_id)]
        return bool(self._requeue_script(keys=keys, args=[entry, job_id, time.time(), how]))

    def _registry(self, queue: Queue) -> StartedJobRegistry:
        return StartedJobRegistry(queue=queue, serializer=JSONSerializer)


def _passes(error: RedisError) -> bool:
    """Whether to wait: Redis is away, or takes no writes for now."""
    return isinstance(error, _REDIS_AWAY) or takes_no_writes(error)


def _texts(answer: Any) -> list[str]:
    return [entry.decode() for entry in answer]
