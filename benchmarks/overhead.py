"""What the engine and the bookkeeping cost on top of the network.

    python -m benchmarks.overhead [--checkpoint checkpoints/fashion-mnist] [--requests 300]

1. The engine's step against the bare network's forward at the same bucket, rounds interleaved, for
   a sampler without noise (dpmpp_2m) and one with (ddpm).
2. The bookkeeping of a request in the worker (RQ, Redis scripts, PNG): processor time of the thread
   that does it, per request of one picture, with a network that costs nothing.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import statistics
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

import torch
from redis import Redis
from torch import Tensor

from app.queue import SubmitQueue
from benchmarks.machine import describe, pick_device, settle
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


def step_times(model: Model, bucket: int, sampler: Sampler) -> tuple[float, float]:
    """Mean seconds of a bare forward and of an engine step, full bucket, rounds interleaved.

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
    engine = Engine(Plan((bucket,)))
    labels = tuple(i % len(model.manifest.classes) for i in range(bucket))
    engine.add(
        Work(
            "w",
            "",
            weights,
            model.manifest.diffusion.build_table(sampler, 900),
            tuple(range(bucket)),
            tuple(torch.tensor(label) for label in labels),
        )
    )
    x = torch.randn(bucket, *shape, device=device, dtype=dtype)
    t, own = torch.full((bucket,), 500.0, device=device), torch.tensor(labels, device=device)
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


def bookkeeping(checkpoint: Path, requests: int) -> tuple[float, float]:
    """Milliseconds of processor time, and of wall time, per request in the worker's main thread."""
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
            began, processor = time.perf_counter(), time.thread_time()
            worker.work(burst=True, logging_level="ERROR")
            wall, used = time.perf_counter() - began, time.thread_time() - processor
        finally:
            server.stop()
    return 1000 * used / requests, 1000 * wall / requests


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


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{describe()}; {arguments.threads} torch threads")
    device = pick_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32  # as the worker's
    model = load_model(arguments.checkpoint, device=device, dtype=dtype)
    print("| bucket | sampler | bare forward | engine step | overhead |\n|---|---|---|---|---|")
    for bucket in (1, 2, 4, 8, 16):
        for sampler in ("dpmpp_2m", "ddpm"):
            bare, whole = step_times(model, bucket, sampler)
            print(
                f"| {bucket} | {sampler} | {1000 * bare:.2f} ms | {1000 * whole:.2f} ms | "
                f"{100 * (whole / bare - 1):+.1f} % |"
            )
    used, wall = bookkeeping(arguments.checkpoint, arguments.requests)
    print(
        f"bookkeeping: {used:.2f} ms of processor time and {wall:.2f} ms of wall time per request "
        f"({arguments.requests} requests of one picture, a network that costs nothing)"
    )


if __name__ == "__main__":
    main()
