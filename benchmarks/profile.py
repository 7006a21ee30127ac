"""Where a step's time goes: the network's operations, and what the engine adds.

    python -m benchmarks.profile [--rows 1 16] [--steps 30] [--precision exact] [--one-batch]

Works of one picture each share the engine's steps, as requests do. Every core's operations are
counted together, each without what it calls; what is left of the cores' time is Python between
operations, the engine's own arithmetic, and waiting for the other core. `--one-batch` is how steps
were evaluated before: its time is that of all cores together.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe
from models.checkpoint import load_model
from models.cores import available_cores
from models.unet import UNet
from worker.catalog import Catalog, Loaded
from worker.engine.engine import Engine
from worker.engine.precision import Plan, Precision, choose, plan
from worker.engine.work import Work

CPU = torch.device("cpu")
EVERY = _ExperimentalConfig(profile_all_threads=True)  # each core has one of its own
GROUPS = {
    "convolution": ("conv",),
    "products": ("addmm", "mm", "bmm", "linear", "matmul", "attention"),
    "norms": ("norm",),
    "SiLU": ("silu",),
    "copies and layouts": ("copy", "cat", "clone", "contiguous", "index", "upsample", "pad"),
}


def group(name: str) -> str:
    """The row of the table that an operation belongs to."""
    for label, parts in GROUPS.items():
        if any(part in name for part in parts):
            return label
    return "other operations"


def main() -> None:
    """Print a table for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 2, 16])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--precision", choices=get_args(Precision), default=choose(device=CPU))
    parser.add_argument(
        "--one-batch",
        action="store_true",
        help="instead: the network alone, a float32 batch whose operations all cores share",
    )
    arguments = parser.parse_args()
    cores = available_cores()
    if arguments.one_batch:
        print(f"{describe()}; one float32 batch, operations shared by {cores} cores")
        torch.set_num_threads(cores)
        network = load_model(arguments.checkpoint).network
        for rows in arguments.rows:
            tell(rows, arguments.steps, *one_batch(network, rows, arguments.steps), cores=1)
        return
    torch.set_num_threads(1)
    chosen = plan(arguments.precision, device=CPU, cores=cores)
    catalog = Catalog(arguments.checkpoint.parent, device=CPU, plan=chosen)
    catalog.refresh()
    version = next(c.version for c in catalog.cards() if c.id == arguments.checkpoint.name)
    loaded = catalog.find(version)
    assert isinstance(loaded, Loaded), "refresh has loaded it"
    print(f"{describe()}; {arguments.precision}, {cores} cores, chunks of {loaded.weights.sizes}")
    for rows in arguments.rows:
        tell(
            rows,
            arguments.steps,
            *shared(loaded, chosen, rows, arguments.steps),
            cores=min(rows, cores),
        )


def shared(loaded: Loaded, chosen: Plan, rows: int, steps: int) -> tuple[float, profile]:
    """Seconds a step of the engine, and what it consists of."""
    engine = Engine(chosen)

    def run(turn: str) -> None:
        for seed in range(rows):
            table = loaded.manifest.diffusion.build_table("dpmpp_2m", steps)
            condition = (torch.tensor(seed % 10),)
            engine.add(Work(f"{turn}{seed}", "", loaded.weights, table, (seed,), condition))
        while not engine.idle:
            engine.step()

    return measured(run, steps)


def one_batch(network: UNet, rows: int, steps: int) -> tuple[float, profile]:
    """Seconds an evaluation of all rows at once, and what it consists of."""
    channels, (height, width) = network.config.channels, network.config.size
    x, t = torch.randn(rows, channels, height, width), torch.rand(rows) * 1000
    labels = torch.arange(rows) % 10 if network.config.num_class_embeds else None

    def run(_turn: str) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                network(x, t, labels)

    return measured(run, steps)


def measured(run: Callable[[str], None], steps: int) -> tuple[float, profile]:
    """Once to warm up, once on the clock, once under the profiler."""
    run("warm")
    began = time.perf_counter()
    run("timed")
    step = (time.perf_counter() - began) / steps
    with profile(activities=[ProfilerActivity.CPU], experimental_config=EVERY) as recorded:
        run("profiled")
    return step, recorded


def tell(rows: int, steps: int, step: float, recorded: profile, *, cores: int) -> None:
    """Print one table."""
    spent: Counter[str] = Counter()
    for event in recorded.key_averages():
        spent[group(event.key)] += event.self_cpu_time_total / 1e3 / steps
    print(
        f"\n{rows} rows: {1000 * step:.2f} ms a step\n\n"
        "| of the cores' time | ms a step |\n|---|---|"
    )
    for label, milliseconds in spent.most_common():
        print(f"| {label} | {milliseconds:.2f} |")
    print(f"| cores' time in all, without the profiler | {1000 * step * cores:.2f} |")


if __name__ == "__main__":
    main()
