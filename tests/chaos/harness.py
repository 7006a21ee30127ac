"""Everything fails, again and again, under load; then the accounts are drawn up.

Two workers and the API run on one Redis while clients submit. At random moments a worker is killed
(SIGKILL), told to stop (SIGTERM), or put to sleep (SIGSTOP), or Redis is restarted or away. A
request counts once its 202 has arrived. At the end each is compared with the same picture drawn
in peace, by an engine of the same precision.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from models import load_model
from models.sampler import SAMPLERS
from tests.e2e.service import Service, running
from tests.support import CLASSES, eventually
from wire.schemas import ResolvedRequest
from worker.engine.engine import Engine
from worker.engine.work import ImageDone, Weights, Work
from worker.render import png

SETTINGS = {"EMAKI_PRECISION": "exact", "EMAKI_WORKER_TTL": "4", "EMAKI_DRAIN_SECONDS": "3"}
BUCKET = 8


@dataclass
class Accounts:
    """What was promised and what came of it."""

    submitted: int = 0
    refused: int = 0  # 503 while Redis was away: nothing was promised
    succeeded: int = 0
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    longest_standstill: float = 0.0

    def __str__(self) -> str:
        actions = ", ".join(f"{count} x {name}" for name, count in sorted(self.actions.items()))
        return (
            f"submitted {self.submitted}, refused {self.refused}, succeeded {self.succeeded}, "
            f"lost {len(self.lost)}, failed {len(self.failed)}, duplicated "
            f"{len(self.duplicated)}, differing pictures {len(self.differing)}; longest time "
            f"without a finished picture {self.longest_standstill:.0f} s; {actions}"
        )


class Chaos:
    """One run.

    Args:
        sleep: seconds of a SIGSTOP and of Redis's absence.
    """

    def __init__(self, service: Service, *, seed: int, sleep: float) -> None:
        self.service, self.sleep = service, sleep
        self.random = random.Random(seed)
        self.accounts = Accounts()
        self.accepted: dict[str, dict[str, Any]] = {}
        self._over = threading.Event()
        self._finished_at = time.monotonic()
        self.workers = [service.start("worker", **SETTINGS) for _ in range(2)]

    def run(self, seconds: float) -> Accounts:
        """Submit and break things, each at least once and for so long; then settle and count."""
        self.service.wait_until_ready()
        clients = [threading.Thread(target=self._submit, args=(n,)) for n in range(3)]
        watch = threading.Thread(target=self._watch)
        for thread in (*clients, watch):
            thread.start()
        harms: list[Callable[[], None]] = [
            self.kill_worker,
            self.stop_worker,
            self.put_worker_to_sleep,
            self.restart_redis,
            self.redis_away,
        ]
        self.random.shuffle(harms)
        deadline = time.monotonic() + seconds
        turn = 0
        while turn < len(harms) or time.monotonic() < deadline:
            harm = (
                harms[turn] if turn < len(harms) else self.random.choice([*harms, self.kill_worker])
            )
            turn += 1
            self.accounts.actions[harm.__name__.replace("_", " ")] += 1
            harm()
            time.sleep(self.random.uniform(1, 5))
        self._over.set()
        for thread in clients:
            thread.join()
        with self.service.client() as client:
            for id_ in self.accepted:
                self._count(client, id_)
        watch.join()
        return self.accounts

    def kill_worker(self) -> None:
        worker = self._take_worker()
        worker.kill()
        worker.wait()
        self._replace()

    def stop_worker(self) -> None:
        worker = self._take_worker()
        worker.terminate()
        assert worker.wait(timeout=30) == 0
        self._replace()

    def put_worker_to_sleep(self) -> None:
        worker = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.sleep)
        worker.send_signal(signal.SIGCONT)

    def restart_redis(self) -> None:
        self._redis_down_for(0)

    def redis_away(self) -> None:
        self._redis_down_for(self.sleep)

    def _redis_down_for(self, seconds: float) -> None:
        process = self.service.redis.process
        assert process is not None
        process.terminate()
        process.wait(timeout=30)
        time.sleep(seconds)
        self.service.redis.start()

    def _take_worker(self) -> Any:
        worker = self.workers.pop(self.random.randrange(len(self.workers)))
        self.service.processes.remove(worker)
        return worker

    def _replace(self) -> None:
        self.workers.append(self.service.start("worker", **SETTINGS))

    def _submit(self, number: int) -> None:
        chance = random.Random(number)
        with self.service.client() as client:
            while not self._over.is_set():
                fields = {
                    "seed": chance.randrange(40),
                    "steps": chance.choice([5, 20, 60]),
                    "batch": chance.choice([1, 1, 2, 5]),
                    "class": chance.choice([*CLASSES, None]),
                    "sampler": chance.choice(SAMPLERS),
                    "guidance_scale": chance.choice([0, 1, 2]),
                }
                try:
                    answer = client.post("/v1/generations", json=fields)
                except httpx.TransportError:
                    continue
                if answer.status_code == 202:
                    self.accepted[answer.json()["id"]] = answer.json()["request"]
                    self.accounts.submitted += 1
                else:
                    assert answer.status_code == 503, answer.text
                    assert answer.headers["retry-after"]
                    self.accounts.refused += 1
                time.sleep(chance.uniform(0.05, 0.3))

    def _watch(self) -> None:
        """How long nothing was finished although something was to be done."""
        seen, since = 0, time.monotonic()
        while not self._over.is_set():
            count = self._succeeded_so_far()
            now = time.monotonic()
            if count is None or count != seen or count == len(self.accepted):
                seen, since = count or seen, now
            standstill = now - since
            self.accounts.longest_standstill = max(self.accounts.longest_standstill, standstill)
            time.sleep(0.25)

    def _succeeded_so_far(self) -> int | None:
        from redis.exceptions import RedisError

        try:
            with self.service.connection() as redis:
                return sum(1 for _ in redis.scan_iter("emaki:gone:*", count=1000))
        except RedisError:
            return None

    def _count(self, client: httpx.Client, id_: str) -> None:
        def finished() -> dict[str, Any] | None:
            answer = client.get(f"/v1/generations/{id_}")
            assert answer.status_code in (200, 404, 503), answer.text
            body: dict[str, Any] = answer.json()
            return body if answer.status_code == 404 or body.get("finished_at") else None

        try:
            body = eventually(finished, seconds=90)
        except AssertionError:
            self.accounts.lost.append(id_)
            return
        if "images" not in body:
            self.accounts.lost.append(id_)
        elif body["status"] != "succeeded":
            self.accounts.failed.append(f"{id_}: {body['error']}")
        else:
            self.accounts.succeeded += 1
            self._compare(id_, body)

    def _compare(self, id_: str, body: dict[str, Any]) -> None:
        with self.service.connection() as redis:
            entries: Any = redis.xrange(f"emaki:gen:{id_}:events")
            raw: Any = redis.hget(f"emaki:gen:{id_}", "request")
            pngs: Any = redis.hgetall(f"emaki:gen:{id_}:png")
        names = Counter(fields[b"event"] for _, fields in entries)
        if names[b"done"] != 1 or names[b"image"] != body["request"]["batch"]:
            self.accounts.duplicated.append(id_)
        expected = self._in_peace(ResolvedRequest.model_validate_json(raw))
        if {int(index): data for index, data in pngs.items()} != expected:
            self.accounts.differing.append(id_)

    def _in_peace(self, request: ResolvedRequest) -> dict[int, bytes]:
        model = load_model(self.service.checkpoints / "tiny")
        network, diffusion = model.manifest.network, model.manifest.diffusion
        weights = Weights("peace", model.network, (1, *network.size), True, network.null_class)
        table = diffusion.build_table(request.sampler, request.steps)
        engine = Engine((BUCKET,))
        seeds = tuple(range(request.seed, request.seed + request.batch))
        labels, scale = tuple(request.classes), request.guidance_scale
        engine.add(Work("x", "", weights, table, seeds, labels, scale))
        drawn = {}
        while not engine.idle:
            for event in engine.step():
                if isinstance(event, ImageDone):
                    drawn[event.index] = png(event.pixels, request.picture(event.index))
        return drawn


def run_chaos(folder: Path, *, seconds: float, sleep: float, seed: int) -> Accounts:
    """Start a service, break it for so long, and count."""
    torch.set_num_threads(1)
    with running(folder, "app") as service:
        return Chaos(service, seed=seed, sleep=sleep).run(seconds)
