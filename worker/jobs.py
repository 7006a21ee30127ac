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
from typing import Any, Literal

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

from wire import keys, life
from wire.connect import takes_no_writes
from wire.images import ImagesAway
from wire.life import Life
from worker.dispatch import Accepted, Dispatch

log = logging.getLogger("emaki.worker")

_HOUSEKEEPING_EVERY = 2.0
_SHORTEST_TICK, _LONGEST_TICK = 0.005, 0.05
_OTHERS_WORK_PAUSE = 0.1  # between two looks at a queue that holds only other workers' models
_IMAGES_PAUSE = 0.5  # before another try to write a picture outside Redis
_HUNG_EXIT_CODE = 70
# What reading a job can raise that a stranger has written.
_NOT_A_JOB = (NoSuchJobError, DeserializationError, ValueError, TypeError, KeyError, AttributeError)
_REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)

_OVERCOMMIT = 32  # requests of one owner that are taken although no place is free
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
    lost: Callable[[], None]  # told when Redis does not answer

    @classmethod
    def dequeue_any(
        cls, queues: Any, timeout: int | None, *args: Any, **kwargs: Any
    ) -> tuple[Job, Queue] | None:
        queue: DataQueue = queues[0]
        try:
            return queue._next(timeout, *args, **kwargs)
        except _REDIS_AWAY:
            queue.lost()
            raise

    def _next(self, timeout: int | None, *args: Any, **kwargs: Any) -> tuple[Job, Queue] | None:
        patience = time.monotonic() + (timeout or 0)
        while True:
            job = self.take()
            if job is not None:
                return job, self
            if self.count:
                if time.monotonic() > patience:
                    raise DequeueTimeout(timeout, self.key)
                time.sleep(_OTHERS_WORK_PAUSE)
                continue
            try:
                return super().dequeue_any([self], timeout, *args, **kwargs)
            except _NOT_A_JOB as error:
                # It stays in the intermediate list, where `_recover` finds and drops it.
                log.error("a job in the queue makes no sense (%s)", error)


class EngineWorker(SimpleWorker):
    """An RQ worker whose jobs share the engine's batch."""

    queue_class = DataQueue
    max_connection_wait_time = 2.0
    log_result_lifespan = False

    def __init__(
        self, redis: Redis, dispatch: Dispatch, *, drain_seconds: float, worker_ttl: float
    ) -> None:
        queue = DataQueue(keys.QUEUE, connection=redis, serializer=JSONSerializer)
        queue.take, queue.lost = self.take, self._lost
        super().__init__(
            [queue],
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=60,
            maintenance_interval=int(_HOUSEKEEPING_EVERY),
            log_job_description=False,
        )
        self.stopping = False
        self._dispatch = dispatch
        self._drain_seconds = drain_seconds
        self._abandoned_after = math.ceil(worker_ttl)
        self._heartbeat_every = worker_ttl / 4
        self._held: dict[str, _Held] = {}
        self._popped_before: set[str] = set()
        self._beat_at = self._kept_at = 0.0
        self._life = Life(redis)
        self._connected_at = time.monotonic()  # since when Redis has answered

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

    def execute_job(self, job: Job, _queue: Queue) -> None:
        """Run a busy period that begins with this job."""
        try:
            self.accept(job)
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
                self.tick()
            except RedisError as error:
                if not _passes(error):
                    raise
                self._lost()
                log.warning(
                    "Redis is away or takes no writes (%s); drawing goes on, results wait", error
                )
                time.sleep(0.5)
            if self.stopping and deadline is None:
                deadline = time.monotonic() + self._drain_seconds
                log.info("stopping: %d requests are being finished", len(self._held))
            if deadline is not None and time.monotonic() > deadline:
                self.give_back()
        self.set_state(WorkerStatus.IDLE)

    def clean_registries(self) -> None:
        """RQ's maintenance hook, called while idle."""
        self.keep_house()
        self.last_cleaned_at = now()  # type: ignore[assignment]  # rq declares it as None

    def tick(self) -> None:
        # Half a step: cancels and newcomers are seen before the step after next.
        tick = min(max(self._dispatch.step_seconds / 2, _SHORTEST_TICK), _LONGEST_TICK)
        try:
            self._dispatch.serve(wait=tick)
        except ImagesAway as error:  # Redis is there: heartbeats and all else go on
            log.warning("%s; drawing goes on, results wait", error)
            time.sleep(_IMAGES_PAUSE)
        while self._dispatch.elsewhere:
            self._pass_over(self._held[self._dispatch.elsewhere[-1]])
            del self._held[self._dispatch.elsewhere.pop()]
        for id_ in [id_ for id_ in self._held if not self._dispatch.holds(id_)]:
            self._release(self._held.pop(id_))
        while not self.stopping and (job := self.take()) is not None:
            self.accept(job)
        moment = time.monotonic()
        if moment - self._beat_at > self._heartbeat_every:
            self._beat_at = moment
            self._keep_alive()
        if moment - self._kept_at > _HOUSEKEEPING_EVERY:
            self.keep_house()

    def _lost(self) -> None:
        self._connected_at = time.monotonic()

    def take(self) -> Job | None:
        """The next job that should join, without waiting; None when nobody else may."""
        if len(self._held) >= _MOST_HELD:
            return None
        while True:
            taken = self._life(
                life.take(
                    self._dispatch.versions,
                    self._dispatch.owners,
                    now=time.time(),
                    room=self._dispatch.room > 0,
                    overcommit=_OVERCOMMIT,
                )
            )
            if taken is None:
                return None
            try:
                return Job.fetch(str(taken), self.connection, JSONSerializer)
            except _NOT_A_JOB as error:
                log.error("job %r in the queue makes no sense (%s); dropping it", taken, error)
            self.connection.lrem(keys.POPPED, 1, taken)  # type: ignore[arg-type]

    def accept(self, job: Job) -> None:
        """Move a popped job into the started registry and open its generation."""
        with self.connection.pipeline() as pipe:
            execution = Execution.create(job, self._abandoned_after, pipe, worker_name=self.name)
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.lrem(keys.POPPED, 1, job.id)
            self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            pipe.execute()
        held = _Held(job, execution)
        if self._dispatch.holds(job.id):
            # This worker was taken for dead, and popped its own job again: it begins anew.
            self._dispatch.drop(job.id)
            if (before := self._held.pop(job.id, None)) is not None:
                self._drop_execution(before)
        outcome = self._dispatch.accept(job.id)
        if outcome is Accepted.HELD:
            self._held[job.id] = held
        elif outcome is Accepted.NOT_OURS:
            self._pass_over(held)
        else:
            self._release(held)

    def _pass_over(self, held: _Held) -> None:
        """Leave it to a worker that can draw it."""
        self._requeue(held.job.id, keys.STARTED, held.execution.composite_key, "elsewhere")
        self._drop_execution(held)

    def _release(self, held: _Held) -> None:
        """Let go of a job: for good if its generation has ended, else it is another worker's."""
        with self.connection.pipeline() as pipe:
            held.execution.delete(job=held.job, pipeline=pipe)
            life.append(pipe, life.forget(held.job.id))
            pipe.execute()

    def give_back(self) -> None:
        """Out of time: what is unfinished goes to the queue's front, for another worker."""
        log.info("giving %d unfinished requests back to the queue", len(self._held))
        for id_, held in list(self._held.items())[::-1]:
            self._dispatch.drop(id_)
            self._requeue(id_, keys.STARTED, held.execution.composite_key, "back")
            self._drop_execution(held)
            del self._held[id_]

    def _drop_execution(self, held: _Held) -> None:
        """Remove what RQ keeps of an attempt that was given back."""
        with self.connection.pipeline() as pipe:
            held.execution.delete(job=held.job, pipeline=pipe)
            pipe.execute()

    def _keep_alive(self) -> None:
        """Heartbeats for everything held, but only while the engine's steps advance."""
        if self._dispatch.hung():
            log.critical("the engine hangs or has died; leaving, to be started again")
            logging.shutdown()
            os._exit(_HUNG_EXIT_CODE)
        if not self._dispatch.advancing():
            stalled = self._dispatch.stalled_seconds()
            log.error("no step for %.0f s; heartbeats stop, so others take over", stalled)
            return
        registry = self._registry(self.queues[0])
        with self.connection.pipeline() as pipe:
            self.heartbeat(pipeline=pipe)
            for held in self._held.values():
                held.execution.heartbeat(registry, self._abandoned_after, pipeline=pipe)
            pipe.execute()

    def keep_house(self) -> None:
        self._kept_at = time.monotonic()
        self._dispatch.housekeeping()
        self._recover()
        self._life(life.settle())

    def _recover(self) -> None:
        """Put abandoned jobs back at the queue's front."""
        if time.monotonic() - self._connected_at < self._abandoned_after:
            return  # the others could say no more than this one that they live
        for composite in _texts(self.connection.zrangebyscore(keys.STARTED, 0, time.time())):
            job_id = composite.rpartition(":")[0]
            if job_id in self._held:
                continue  # late, but alive: the next heartbeat says so
            if self._requeue(job_id, keys.STARTED, composite, "abandoned"):
                log.warning("generation %s was abandoned by its worker; queued again", job_id)
                self._dispatch.recovered()
        popped = set(self._popped())
        for job_id in popped & self._popped_before:
            if self._requeue(job_id, keys.POPPED, job_id, "back"):
                log.warning("generation %s was popped and forgotten; queued again", job_id)
        self._popped_before = popped

    def _popped(self) -> Iterator[str]:
        """Ids that somebody has popped and not yet registered; what is no job is dropped."""
        entries: Any = self.connection.lrange(keys.POPPED, 0, -1)
        for entry in entries:
            try:
                job_id = entry.decode()
                Job.fetch(job_id, self.connection, JSONSerializer)
            except _NOT_A_JOB as error:
                log.error("job %r in the queue makes no sense (%s); dropping it", entry, error)
                self.connection.lrem(keys.POPPED, 0, entry)
            else:
                yield job_id

    def _requeue(
        self, id_: str, place: str, entry: str, how: Literal["abandoned", "back", "elsewhere"]
    ) -> bool:
        return self._life(life.requeue(id_, place=place, entry=entry, now=time.time(), how=how))

    def _registry(self, queue: Queue) -> StartedJobRegistry:
        return StartedJobRegistry(queue=queue, serializer=JSONSerializer)


def _passes(error: RedisError) -> bool:
    """Whether to wait: Redis is away, or takes no writes for now."""
    return isinstance(error, _REDIS_AWAY) or takes_no_writes(error)


def _texts(answer: Any) -> list[str]:
    return [entry.decode() for entry in answer]
