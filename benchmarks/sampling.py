"""Lone requests of one picture, all there at once, against diffusers drawing as many pictures.

    python -m benchmarks.sampling [--rounds 5] [--pictures 64] [--steps 20]

Emaki draws them as so many requests, through its engine alone and through HTTP, as it comes and
with `EMAKI_PRECISION=fast`. diffusers, in a process of its own (`benchmarks.sampling_diffusers`),
draws batches of 1, 16 and 64 in float32, as it comes, and in bfloat16. All use DDIM and the same
network; rounds alternate, and the last column pairs each round with Emaki's over HTTP.
"""

import os

# Read when torch loads its OpenMP: as a worker waits. diffusers keeps torch's own default.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.batching import service
from benchmarks.machine import describe, pick_device
from benchmarks.peers import SERVING, peers_python
from benchmarks.serving import Emaki, drive
from models import load_model
from models.cores import Cores, available_cores
from worker.engine.engine import Engine
from worker.engine.precision import Precision, plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights
from worker.engine.work import Work

Draw = Callable[[], float]
DEFAULT = "exact"


def engine(checkpoint: Path, precision: Precision, *, pictures: int, steps: int) -> Draw:
    """The engine by itself: each picture a work."""
    torch.set_num_threads(1)
    device = pick_device()
    chosen = plan(precision, device=device, cores=available_cores())
    model = load_model(checkpoint, device=device, dtype=chosen.dtype)
    network, diffusion = model.manifest.network, model.manifest.diffusion
    weights = Weights(
        "bench",
        model.network,
        (network.channels, *network.size),
        Condition.of_classes(network.null_class),
        chosen.dtype,
        device,
    )
    weights = probe(weights, chosen, Cores(chosen.cores))
    table, drawing = diffusion.build_table("ddim", steps), Engine(chosen)

    def draw() -> float:
        began = time.perf_counter()
        for seed in range(pictures):
            label = torch.tensor(seed % 10)
            drawing.add(Work(str(seed), "", weights, table, (seed,), (label,)))
        while not drawing.idle:
            drawing.step()
        return time.perf_counter() - began

    return draw


@contextmanager
def over_http(
    checkpoint: Path, precision: Precision, *, pictures: int, steps: int
) -> Iterator[Draw]:
    """The whole service: each picture a request."""
    requests: list[dict[str, Any]] = [
        {"seed": seed, "batch": 1, "steps": steps, "sampler": "ddim", "class": seed % 10}
        for seed in range(pictures)
    ]
    before = os.environ.get("EMAKI_PRECISION")
    os.environ["EMAKI_PRECISION"] = precision
    try:
        with service(checkpoint) as client:
            server = Emaki(client)
            yield lambda: asyncio.run(drive(server, requests, [0.0] * pictures))[0]
    finally:
        os.environ.pop("EMAKI_PRECISION")
        if before is not None:
            os.environ["EMAKI_PRECISION"] = before


@contextmanager
def diffusers(folder: Path) -> Iterator[Callable[..., float]]:
    """Its process, which draws when told to."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    del environment["OMP_WAIT_POLICY"]  # spinning is faster for a process by itself
    process = subprocess.Popen(
        [
            str(peers_python(*SERVING)),
            "-m",
            "benchmarks.sampling_diffusers",
            f"--folder={folder}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sent, answers = process.stdin, process.stdout

    def answer() -> dict[str, Any]:
        for line in answers:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"diffusers ended with code {process.wait()}; its reason is above")

    def draw(**wanted: object) -> float:
        print(json.dumps(wanted), file=sent, flush=True)
        return float(answer()["seconds"])

    answer()
    try:
        yield draw
    finally:
        sent.close()
        process.wait()
        answers.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--precisions", nargs="*", choices=get_args(Precision), default=[DEFAULT, "fast"]
    )
    arguments = parser.parse_args()
    size = {"pictures": arguments.pictures, "steps": arguments.steps}
    contenders: dict[str, Draw] = {}
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work) / "diffusers"
        convert = [sys.executable, "-m", "training", "convert", arguments.checkpoint, folder]
        subprocess.run(convert, check=True, capture_output=True)
        print(describe(), flush=True)
        for precision in arguments.precisions:
            contenders[f"Emaki over HTTP, {precision}"] = stack.enter_context(
                over_http(arguments.checkpoint, precision, **size)
            )
            contenders[f"Emaki's engine, {precision}"] = engine(
                arguments.checkpoint, precision, **size
            )
        peer = stack.enter_context(diffusers(folder))
        for dtype in ("float32", "bfloat16"):
            for batch in (1, 16, 64):
                name = f"diffusers, {dtype}, batch {batch}"
                contenders[name] = partial(peer, dtype=dtype, batch=batch, **size)
        times = measure(contenders, arguments.rounds)
    first = next(iter(times))
    print(
        f"{arguments.pictures} pictures of {arguments.steps} DDIM steps, medians of "
        f"{arguments.rounds} rounds\n\n| | pictures/s | ms a picture-step | {first} is faster by |"
        "\n|---|---|---|---|"
    )
    for name, some in times.items():
        seconds = statistics.median(some)
        faster = statistics.median(o / t for o, t in zip(some, times[first], strict=True))
        step = 1000 * seconds / arguments.pictures / arguments.steps
        print(f"| {name} | {arguments.pictures / seconds:.2f} | {step:.2f} | {faster:.2f} |")


def measure(contenders: dict[str, Draw], rounds: int) -> dict[str, list[float]]:
    """Seconds of each one's rounds; the order turns, and the first round warms up."""
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds = contenders[name]()
            if turn:
                times[name].append(seconds)
    return times


if __name__ == "__main__":
    main()
