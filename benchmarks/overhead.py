"""What the engine and the bookkeeping cost on top of the network.

    python -m benchmarks.overhead [--checkpoint checkpoints/fashion-mnist] [--requests 300]
                                  [--parts step bookkeeping http] [--rounds 3] [--mixed 60]

step         The engine's step against the bare network's forward at the same size, rounds
             interleaved, for a sampler without noise (dpmpp_2m) and one with (ddpm).
bookkeeping  Of a request in the worker (RQ, Redis scripts, PNG): processor time of the thread that
             does it, and of Redis, per request of one picture, with a network that costs nothing.
http         The whole service at saturation (requests, Redis, pictures fetched; all on these cores)
             against the engine alone, given the same works at once; rounds alternate. In wall time,
             and in processor time, which others on the machine disturb less.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from redis import Redis
from torch import Tensor

from app.queue import SubmitQueue
from benchmarks.api import processor
from benchmarks.batching import service
from benchmarks.machine import describe, pick_device, settle
from benchmarks.serving import Emaki, drive, mixed_requests
from models import Model, load_model
from models.sampler import Sampler
from serve.embedded import EmbeddedRedis
from wire.record import Record
from wire.schemas import ResolvedRequest
from worker.catalog import Catalog, Loaded, Loading
from worker.dispatch import Dispatch
from worker.engine.engine import Engine
from worker.engine.precision import Plan, plan
from worker.engine.runner import Runner
from worker.engine.weights import Condition, Weights
from worker.engine.work import Work
from worker.jobs import EngineWorker
from worker.ledger import Ledger
from worker.meter import Meter

ROUNDS = 64
PARTS = ("step", "bookkeeping", "http")


def step_times(model: Model, size: int, sampler: Sampler) -> tuple[float, float]:
    """Mean seconds of a bare forward and of an engine step, all places taken, rounds interleaved.

    Means, because noise is drawn for several steps at once: a median would hide it.
    """
    config = model.manifest.network
    shape = (config.channels, *config.size)
    parameter = next(model.network.parameters())
    device, dtype = parameter.device, parameter.dtype
    weights = Weights(
        version="bench",
        forward=model.network,
        shape=shape,
        condition=Condition.of_classes(config.null_class),
        dtype=dtype,
        device=device,
    )
    engine = Engine(Plan((size,)))
    labels = tuple(i % len(model.manifest.classes) for i in range(size))
    engine.add(
        Work(
            "w",
            "",
            weights,
            model.manifest.diffusion.build_table(sampler, 900),
            tuple(range(size)),
            tuple(torch.tensor(label) for label in labels),
        )
    )
    x = torch.randn(size, *shape, device=device, dtype=dtype)
    t, own = torch.full((size,), 500.0, device=device), torch.tensor(labels, device=device)
    bare, whole = [], []
    with torch.inference_mode():
        for round_ in range(ROUNDS + 5):
            began = time.perf_counter()
            model.network(x, t, own)
            settle(device)
            between = time.perf_counter()
            engine.step()
            settle(device)
            ended = time.perf_counter()
            if round_ >= 5:
                bare.append(between - began)
                whole.append(ended - between)
    return statistics.fmean(bare), statistics.fmean(whole)


class FreeCatalog(Catalog):
    """Its networks cost nothing."""

    def __init__(self, root: Path, *, device: torch.device, plan: Plan) -> None:
        super().__init__(root, device=device, plan=plan)
        self._free: dict[str, Loaded] = {}

    def find(self, version: str) -> Loaded | Loading | None:
        found = super().find(version)
        if isinstance(found, Loaded) and version not in self._free:
            weights = replace(found.weights, forward=_nothing)
            self._free[version] = replace(found, weights=weights)
        return self._free.get(version, found)


def _nothing(x: Tensor, _t: Tensor, _labels: Tensor | None) -> Tensor:
    return x


@dataclass(frozen=True)
class Bookkeeping:
    """Milliseconds a request: of the worker's main thread, of Redis, and of wall time."""

    worker: float
    redis: float
    wall: float


def bookkeeping(checkpoint: Path, requests: int) -> Bookkeeping:
    """What a request costs around a network that costs nothing."""
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder))
        server.start()
        try:
            redis = Redis.from_url(server.url)
            chosen = plan("balanced", device=device, cores=1)
            catalog = FreeCatalog(checkpoint.parent, device=device, plan=chosen)
            catalog.refresh()
            loaded = catalog.find(load_model(checkpoint).manifest.version)
            assert isinstance(loaded, Loaded)
            runner = Runner(Engine(chosen))
            runner.start()
            dispatch = Dispatch(Ledger(redis, "bench"), catalog, runner, Meter(), step_timeout=30)
            queue = SubmitQueue(redis, max_pictures=10**9)
            for seed in range(requests):
                queue.submit(_record(loaded.manifest.version, seed))
            worker = EngineWorker(redis, dispatch, drain_seconds=1, worker_ttl=12)
            redis_began = _processor(redis)
            began, processor = time.perf_counter(), time.thread_time()
            worker.work(burst=True, logging_level="ERROR")
            wall, used = time.perf_counter() - began, time.thread_time() - processor
            redis_used = _processor(redis) - redis_began
        finally:
            server.stop()
    return Bookkeeping(*(1000 * seconds / requests for seconds in (used, redis_used, wall)))


def _processor(redis: Redis) -> float:
    """Seconds of processor time that a Redis server has used."""
    info: Any = redis.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def _record(version: str, seed: int) -> Record:
    request = ResolvedRequest(
        model=version,
        seed=seed,
        steps=4,
        batch=1,
        classes=[0],
        class_names=[None],
        guidance_scale=1.0,
        sampler="dpmpp_2m",
        eta=0.0,
        scale=1,
    )
    return Record(
        id=uuid.uuid4().hex, owner="", request=request, created=time.time(), result_ttl=60
    )


def engine_alone(loaded: Loaded, chosen: Plan, requests: list[dict[str, Any]]) -> float:
    """Seconds for these requests' works, in hand at once."""
    engine = Engine(chosen)
    for number, fields in enumerate(requests):
        batch = fields["batch"]
        engine.add(
            Work(
                str(number),
                "",
                loaded.weights,
                loaded.manifest.diffusion.build_table(fields["sampler"], fields["steps"]),
                tuple(range(fields["seed"], fields["seed"] + batch)),
                (fields["class"],) * batch,
            )
        )
    began = time.perf_counter()
    while not engine.idle:
        engine.step()
    return time.perf_counter() - began


def over_http(checkpoint: Path, *, mixed: int, threads: int, rounds: int) -> None:
    """Print how much of the engine's speed is left at the end of the way."""
    device, requests = pick_device(), mixed_requests(mixed, grid=1)
    chosen = plan("exact", device=device, cores=threads)
    catalog = Catalog(checkpoint.parent, device=device, plan=chosen)
    catalog.refresh()
    loaded = catalog.find(load_model(checkpoint).manifest.version)
    assert isinstance(loaded, Loaded)
    walls, processors = [], []
    with service(checkpoint) as client:
        server = Emaki(client)
        for round_ in range(rounds + 1):
            began = time.process_time()
            bare = engine_alone(loaded, chosen, requests)
            bare_processor, began = time.process_time() - began, _children_processor()
            seconds, _ = asyncio.run(drive(server, requests, [0.0] * len(requests)))
            if round_ > 0:  # the first warms up
                walls.append((bare, seconds))
                processors.append((bare_processor, _children_processor() - began))
    steps = sum(fields["batch"] * fields["steps"] for fields in requests)
    print(f"{mixed} mixed requests at once, {steps} picture-steps, medians of {rounds} rounds:")
    for what, pairs in (("wall", walls), ("processor", processors)):
        alone, whole = (1000 * statistics.median(side) / steps for side in zip(*pairs, strict=True))
        shares = [bare / seconds for bare, seconds in pairs]
        print(
            f"  {what} time: the engine alone {alone:.2f} ms a picture-step, the service "
            f"{whole:.2f} ms: {statistics.median(shares):.2f} of its speed "
            f"({min(shares):.2f} to {max(shares):.2f})"
        )


def _children_processor() -> float:
    """Seconds of processor time of all live processes below this one: the service's, not ours."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(processor(pid) for pid in below - {os.getpid()})


def steps_table(checkpoint: Path) -> None:
    """Print what a step costs beside its forward."""
    device = pick_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32  # as the worker's
    model = load_model(checkpoint, device=device, dtype=dtype)
    print("| places | sampler | bare forward | engine step | overhead |\n|---|---|---|---|---|")
    for size in (1, 2, 4, 8, 16):
        for sampler in ("dpmpp_2m", "ddpm"):
            bare, whole = step_times(model, size, sampler)
            print(
                f"| {size} | {sampler} | {1000 * bare:.2f} ms | {1000 * whole:.2f} ms | "
                f"{100 * (whole / bare - 1):+.1f} % |"
            )


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixed", type=int, default=60, help="requests of the part http")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{describe()}; {arguments.threads} torch threads")
    if "step" in arguments.parts:
        steps_table(arguments.checkpoint)
    if "bookkeeping" in arguments.parts:
        cost = bookkeeping(arguments.checkpoint, arguments.requests)
        print(
            f"bookkeeping: {cost.worker:.2f} ms of processor time in the worker and "
            f"{cost.redis:.2f} ms in Redis, {cost.wall:.2f} ms of wall time per request "
            f"({arguments.requests} requests of one picture, a network that costs nothing)"
        )
    if "http" in arguments.parts:
        over_http(
            arguments.checkpoint,
            mixed=arguments.mixed,
            threads=arguments.threads,
            rounds=arguments.rounds,
        )


if __name__ == "__main__":
    main()
