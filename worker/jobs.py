"""RQ, in this one file: jobs are taken, kept alive, given back and recovered here.

One RQ job per generation; the job is data (its id), never a function to call. `execute_job` runs a
*busy period*: while rows are in the engine, this thread takes more jobs without blocking, applies
cancels, passes results on and sends heartbeats, and the engine steps in its own thread.

A job is in exactly one of three places: the queue's list, the started registry with a time at which
it counts as abandoned, or between them the intermediate list, where RQ itself has popped it for an
idle worker. `recover` puts abandoned jobs back at the queue's front, so a killed worker's requests
go on elsewhere. Delivery is at least once; `worker.ledger` makes repeats harmless.

Of RQ's data, a job's hash and the registries are kept as RQ's own tools read them; a hash for each
execution, which only RQ's `Worker` reads back, is not written.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat
from rq.worker import WorkerStatus

from wire import keys, life
from wire.connect import takes_no_writes
from wire.life import Hand, Life, Taken
from worker.dispatch import Dispatch

log = logging.getLogger("emaki.worker")

_HOUSEKEEPING_EVERY = 2.0
_SHORTEST_TICK, _LONGEST_TICK = 0.005, 0.05
_OTHERS_WORK_PAUSE = 0.1  # between two looks at a queue that holds only other workers' models
_HUNG_EXIT_CODE = 70
# What reading a job can raise that a stranger has written.
_NOT_A_JOB = (NoSuchJobError, DeserializationError, ValueError, TypeError, KeyError, AttributeError)
_REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)

_MOST_HELD = 256
_MOST_AT_ONCE = 16  # requests taken between two looks at results, cancels and heartbeats


class DataQueue(Queue):
    """A queue whose jobs are data: what cannot be read as a job is dropped, with a line.

    A worker takes the jobs that are its own by `take`, which names one that it has in hand then; it
    blocks for any job only while the queue is empty. (Two workers that took whatever comes first,
    and gave back what is the other's, could go on swapping two jobs for ever.)
    """

    take: Callable[[], str | None]
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
            id_ = self.take()
            if id_ is not None:
                return Job(id_, self.connection, JSONSerializer), self
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
        queue.take, queue.lost = self.take, self.lost
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
        self._execution = uuid4().hex  # names what is taken next, until that is answered
        self._held: dict[str, str] = {}  # id -> its place among the started jobs
        self._more = False  # whether there may be more for this worker in the queue
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
            self.set_state(WorkerStatus.BUSY)
            if job.id not in self._held:  # RQ has popped it
                hand = self._hand()
                self._accept(hand, self._life(life.open_(job.id, hand)))
        except RedisError as error:
            if not _passes(error):
                raise
            log.warning(
                "Redis is away or full (%s); generation %s is taken up again later", error, job.id
            )
        deadline: float | None = None
        while self._held:
            try:
                self.tick()
            except RedisError as error:
                if not _passes(error):
                    raise
                self.lost()
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
        self._serve(wait=0.0 if self._more else tick)
        while self._dispatch.elsewhere:
            self._pass_over(self._dispatch.elsewhere.pop())
        for id_ in [id_ for id_ in self._held if not self._dispatch.holds(id_)]:
            del self._held[id_]
        moment = time.monotonic()
        if moment - self._beat_at > self._heartbeat_every:
            self._beat_at = moment
            self._keep_alive()
        if moment - self._kept_at > _HOUSEKEEPING_EVERY:
            self.keep_house()

    def lost(self) -> None:
        """Redis does not answer: from when it does again, others get a TTL to say they live."""
        self._connected_at = time.monotonic()

    def take(self) -> str | None:
        """Take in hand what should join, without waiting; one of what is in hand then."""
        while True:
            self._serve(wait=0.0)
            if self._held or not self._more:
                return next(iter(self._held), None)

    def _serve(self, *, wait: float) -> None:
        """Pass on what happens, and take in hand what should join."""
        self._dispatch.gather(wait=wait)
        most = min(_MOST_AT_ONCE, _MOST_HELD - len(self._held))
        hand, take = self._hand(), None
        if most > 0 and not self.stopping:
            take = life.take(
                self._dispatch.versions,
                self._dispatch.owners,
                hand,
                now=time.time(),
                room=self._dispatch.room,
                most=most,
            )
        heard = self._dispatch.talk(take)
        self._execution = uuid4().hex  # answered: the next is another
        self._more = take is not None and len(heard.taken) == most
        gone = [life.forget(id_, self._held.pop(id_, "")) for id_ in heard.lost]
        for one in heard.taken:
            self._accept(hand, one)
        if gone:
            self._life(life.together(gone))

    def _hand(self) -> Hand:
        """This worker's, for what it takes now."""
        return Hand(
            worker=self._dispatch.worker,
            rq_worker=self.name,
            execution=self._execution,
            abandoned_at=time.time() + self._abandoned_after,
            moment=utcformat(now()),
        )

    def _accept(self, hand: Hand, taken: Taken) -> None:
        """What was taken in hand is drawn here, unless it turns out to be another worker's."""
        if not taken.fields:
            log.warning("job %r in the queue is no generation that waits; dropped", taken.id)
            return
        if self._dispatch.holds(taken.id):
            # This worker was taken for dead, and took its own job again: it begins anew.
            self._dispatch.drop(taken.id)
        self._held[taken.id] = hand.entry(taken.id)
        if not self._dispatch.accept(taken):
            self._pass_over(taken.id)

    def _pass_over(self, id_: str) -> None:
        """Leave it to a worker that can draw it."""
        self._requeue(id_, keys.STARTED, self._held[id_], "elsewhere")
        del self._held[id_]

    def give_back(self) -> None:
        """Out of time: what is unfinished goes to the queue's front, for another worker."""
        log.info("giving %d unfinished requests back to the queue", len(self._held))
        for id_, entry in list(self._held.items())[::-1]:
            self._dispatch.drop(id_)
            self._requeue(id_, keys.STARTED, entry, "back")
            del self._held[id_]

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
        abandoned_at = time.time() + self._abandoned_after
        with self.connection.pipeline() as pipe:
            self.heartbeat(pipeline=pipe)
            if self._held:
                pipe.zadd(keys.STARTED, dict.fromkeys(self._held.values(), abandoned_at), xx=True)
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


def _passes(error: RedisError) -> bool:
    """Whether to wait: Redis is away, or takes no writes for now."""
    return isinstance(error, _REDIS_AWAY) or takes_no_writes(error)


def _texts(answer: Any) -> list[str]:
    return [entry.decode() for entry in answer]
