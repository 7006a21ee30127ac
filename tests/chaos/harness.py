"""Everything fails, again and again, under load; then the accounts are drawn up.

Three workers and two API processes run on one Redis while clients submit. At random moments a
worker is killed (SIGKILL), told to stop (SIGTERM) or put to sleep (SIGSTOP), an API process, the
one that tells webhooks or Redis is killed, or Redis is restarted or away for longer than a worker
may be silent.
`tests.chaos.clients` submits, `tests.chaos.accounts` counts.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from redis.exceptions import RedisError

from tests.chaos import hooks
from tests.chaos.accounts import PEACE, Accounts, settle
from tests.chaos.clients import KEYS, Client, Promises
from tests.chaos.trace import Trace
from tests.e2e.forking import Process
from tests.e2e.service import Service, running
from tests.support import eventually, free_port
from wire import keys

WORKERS, APIS, CLIENTS = 3, 2, 6
WORKER_TTL = 4
SETTINGS = {
    **PEACE,
    **hooks.SETTINGS,
    "EMAKI_API_KEYS": ",".join(KEYS),
    "EMAKI_WORKER_TTL": str(WORKER_TTL),
    "EMAKI_DRAIN_SECONDS": "3",
    # Limits are not what is tested here.
    "EMAKI_MAX_QUEUE": "1000000",
    "EMAKI_MAX_STORED": str(2**40),
    "EMAKI_LOG_LEVEL": "WARNING",
}
_LOOK_EVERY = 0.5
_WITHOUT_PROGRESS = 120.0  # seconds after which what is unfinished counts as lost
_UNTOLD_SECONDS = 60.0  # after which what the webhook does not know of counts as untold
_FINISHED = {b"succeeded", b"failed", b"canceled"}


class Watch(threading.Thread):
    """Looks which requests have ended, and lets clients submit while few have not.

    Attributes:
        longest_standstill: seconds in which nothing ended although something was to be done.
    """

    def __init__(self, service: Service, promises: Promises, *, most_unfinished: int) -> None:
        super().__init__(name="watch", daemon=True)
        self._service, self._promises = service, promises
        self._most_unfinished = most_unfinished
        self._ended: set[str] = set()
        self.longest_standstill = 0.0
        self.since = time.monotonic()

    @property
    def unfinished(self) -> int:
        return len(self._promises.accepted) - len(self._ended)

    def run(self) -> None:
        while not (self._promises.over.is_set() and self.unfinished == 0):
            ended = self._look()
            now = time.monotonic()
            if ended or not self.unfinished:
                self.since = now
            self.longest_standstill = max(self.longest_standstill, now - self.since)
            if self.unfinished < self._most_unfinished:
                self._promises.room.set()
            else:
                self._promises.room.clear()
            if now - self.since > _WITHOUT_PROGRESS:
                return
            time.sleep(_LOOK_EVERY)

    def _look(self) -> int:
        """How many have ended since the last look; none can be seen while Redis is away."""
        with self._promises.lock:
            ids = [id_ for id_ in self._promises.accepted if id_ not in self._ended]
        try:
            with self._service.connection() as redis, redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.hget(keys.generation(id_), "status")
                states = pipe.execute()
        except RedisError:
            return 0
        ended = {id_ for id_, state in zip(ids, states, strict=True) if state in _FINISHED}
        self._ended |= ended
        return len(ended)


class Chaos:
    """One run.

    Args:
        worker: the module that is started as a worker.
        sleep: seconds of a SIGSTOP and of Redis's absence, longer than a worker may be silent.
    """

    def __init__(
        self, service: Service, *, worker: str, trace: Trace, seed: int, sleep: float
    ) -> None:
        assert sleep > WORKER_TTL, f"a sleep of {sleep} s is nothing to a TTL of {WORKER_TTL} s"
        self.service, self.sleep = service, sleep
        self._worker, self._trace = worker, trace
        self.random = random.Random(seed)
        self.accounts = Accounts()
        self._redis = service.connection()
        self.hook = hooks.Hook(self._ended)
        self.promises = Promises(self.hook.url)
        self.deliverer = self._start_deliverer()
        self.ports = [service.port, *(free_port() for _ in range(APIS - 1))]
        self.apis = [self._start_api(port) for port in self.ports]
        self.workers = [self._start_worker() for _ in range(WORKERS)]
        self.clients = [Client(n, self.ports, trace, self.promises) for n in range(CLIENTS)]

    def run(self, requests: int, *, kills: int) -> None:
        """Submit and break things, each at least once and until so many requests are accepted.

        Args:
            kills: how many SIGKILLs each kind of process gets at least.
        """
        self.service.wait_until_ready()
        watch = Watch(self.service, self.promises, most_unfinished=self._trace.unfinished)
        began = time.monotonic()
        for thread in (*self.clients, watch):
            thread.start()
        harms = self._at_least(kills)
        while harms or len(self.promises.accepted) < requests:
            harm = harms.pop() if harms else self._any()
            self.accounts.harms[harm.__name__.replace("_", " ")] += 1
            harm()
            self._pause(requests if not harms else None)
            self._replace_the_dead()
        self.promises.over.set()
        for client in self.clients:
            client.join()
            assert client.error is None, client.error
        while watch.is_alive():
            self._replace_the_dead()
            watch.join(timeout=1)
        self.accounts.seconds = time.monotonic() - began
        self._wait_until_told()
        self.accounts.longest_standstill = watch.longest_standstill

    def kill_worker(self) -> None:
        self._end(self.workers, self.random.choice(self.workers), signal.SIGKILL)
        self.workers.append(self._start_worker())

    def stop_worker(self) -> None:
        begun = eventually(self._begun, what="a worker that has begun")
        assert self._end(self.workers, begun, signal.SIGTERM) == 0
        self.workers.append(self._start_worker())

    def put_worker_to_sleep(self) -> None:
        worker = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.sleep)
        worker.send_signal(signal.SIGCONT)

    def kill_api(self) -> None:
        place = self.random.randrange(APIS)
        self.apis[place].kill()
        self.apis[place].wait()
        self.service.processes.remove(self.apis[place])
        self.apis[place] = self._start_api(self.ports[place])

    def kill_deliverer(self) -> None:
        self.deliverer.kill()
        self.deliverer.wait()
        self.service.processes.remove(self.deliverer)
        self.deliverer = self._start_deliverer()

    def kill_redis(self) -> None:
        self._redis_down_for(0, signal.SIGKILL)

    def restart_redis(self) -> None:
        self._redis_down_for(0)

    def redis_away(self) -> None:
        self._redis_down_for(self.sleep)

    def _at_least(self, kills: int) -> list[Callable[[], None]]:
        killing = (self.kill_worker, self.kill_api, self.kill_deliverer, self.kill_redis)
        harms = [*self._harms(), *(kills - 1) * killing]
        self.random.shuffle(harms)
        return harms

    def _any(self) -> Callable[[], None]:
        """Deaths are the most common harm, and quick; what sleeps for long is rare."""
        harms = self._harms()
        return self.random.choices([*harms], [*harms.values()])[0]

    def _harms(self) -> dict[Callable[[], None], int]:
        return {
            self.kill_worker: 5,
            self.kill_api: 3,
            self.kill_deliverer: 2,
            self.kill_redis: 2,
            self.stop_worker: 2,
            self.restart_redis: 2,
            self.put_worker_to_sleep: 1,
            self.redis_away: 1,
        }

    def _pause(self, enough: int | None) -> None:
        """A while, for new processes to start and work to pile up."""
        until = time.monotonic() + self.random.uniform(1, 5)
        while time.monotonic() < until:
            if enough is not None and len(self.promises.accepted) >= enough:
                return
            time.sleep(0.05)

    def _ended(self, id_: str) -> bool | None:
        """Whether a generation that is told of has ended, for whoever reads it; None: not known."""
        try:
            return self._redis.hget(keys.generation(id_), "status") in _FINISHED
        except RedisError:
            return None

    def _redis_down_for(self, seconds: float, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.service.redis.process
        assert process is not None
        process.send_signal(how)
        process.wait(timeout=60)
        time.sleep(seconds)
        self.service.redis.start()

    def _begun(self) -> Process | None:
        """A worker that has said it lives; of a stop's exit code only such a one can tell."""
        with self.service.connection() as redis:
            known = {name.decode() for name in redis.smembers(keys.WORKERS)}
        here = (w for w in self.workers if f"{os.uname().nodename}-{w.pid}" in known)
        return next(here, None)

    def _end(
        self,
        processes: list[Process],
        process: Process,
        how: signal.Signals,
    ) -> int:
        processes.remove(process)
        process.send_signal(how)
        self.service.processes.remove(process)
        return process.wait(timeout=60)

    def _replace_the_dead(self) -> None:
        """As a supervisor would; but nobody should have ended."""
        for worker in [worker for worker in self.workers if worker.poll() is not None]:
            self.accounts.deaths.append(f"a worker left with {worker.returncode}")
            self.workers.remove(worker)
            self.service.processes.remove(worker)
            self.workers.append(self._start_worker())
        for place, api in enumerate(self.apis):
            if api.poll() is not None:
                self.accounts.deaths.append(f"an API process left with {api.returncode}")
                self.service.processes.remove(api)
                self.apis[place] = self._start_api(self.ports[place])
        if self.deliverer.poll() is not None:
            self.accounts.deaths.append(f"the deliverer left with {self.deliverer.returncode}")
            self.service.processes.remove(self.deliverer)
            self.deliverer = self._start_deliverer()

    def _wait_until_told(self) -> None:
        """Until the webhook knows of all that ended, or of nothing more for a while."""
        ids, before, since = set(self.promises.accepted), -1, time.monotonic()
        while time.monotonic() < since + _UNTOLD_SECONDS:
            untold = self.hook.untold(ids)
            if not untold:
                break
            if len(untold) != before:
                before, since = len(untold), time.monotonic()
            time.sleep(_LOOK_EVERY)
        self.accounts.untold = self.hook.untold(ids)
        self.accounts.told_again = sum(self.hook.told.values()) - len(self.hook.told)
        self.accounts.early, self.accounts.looked_up = self.hook.early, self.hook.seen
        self.hook.close()

    def _start_deliverer(self) -> Process:
        return self.service.start("app.webhooks", **SETTINGS)

    def _start_worker(self) -> Process:
        return self.service.start(self._worker, **SETTINGS)

    def _start_api(self, port: int) -> Process:
        return self.service.start("app", **SETTINGS, EMAKI_PORT=str(port))


def run_chaos(
    folder: Path,
    *,
    worker: str,
    trace: Trace,
    requests: int,
    sleep: float,
    seed: int,
    kills: int = 1,
) -> Accounts:
    """Start a service, break it until so many requests are accepted, and count."""
    with running(folder) as service:
        chaos = Chaos(service, worker=worker, trace=trace, seed=seed, sleep=sleep)
        chaos.run(requests, kills=kills)
        settle(chaos.accounts, service, chaos.promises, folder=folder / "in peace", worker=worker)
        return chaos.accounts
