"""Where a step's time goes: the network's operations, and what the engine adds.

    python -m benchmarks.profile [--rows 1 16] [--steps 30] [--precision exact]

Works of one picture each share the engine's steps, as requests do. Every core's operations are
counted together, each without what it calls; what is left of the cores' time is Python between
operations, the engine's own arithmetic, and waiting for the other core.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe
from models.cores import available_cores
from worker.catalog import Catalog, Loaded
from worker.engine.engine import Engine
from worker.engine.precision import Precision, choose, plan
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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cores = available_cores()
    chosen = plan(arguments.precision, device=CPU, cores=cores)
    catalog = Catalog(arguments.checkpoint.parent, device=CPU, plan=chosen)
    catalog.refresh()
    version = next(c.version for c in catalog.cards() if c.id == arguments.checkpoint.name)
    loaded = catalog.find(version)
    assert isinstance(loaded, Loaded), "refresh has loaded it"
    print(f"{describe()}; {arguments.precision}, {cores} cores")
    for rows in arguments.rows:
        engine = Engine(chosen)
        for turn in ("warm", "timed", "profiled"):
            for seed in range(rows):
                table = loaded.manifest.diffusion.build_table("dpmpp_2m", arguments.steps)
                condition = (torch.tensor(seed % 10),)
                engine.add(Work(f"{turn}{seed}", "", loaded.weights, table, (seed,), condition))
            if turn != "profiled":
                began = time.perf_counter()
                while not engine.idle:
                    engine.step()
                step = (time.perf_counter() - began) / arguments.steps
                continue
            with profile(activities=[ProfilerActivity.CPU], experimental_config=EVERY) as recorded:
                while not engine.idle:
                    engine.step()
        spent: Counter[str] = Counter()
        for event in recorded.key_averages():
            spent[group(event.key)] += event.self_cpu_time_total / 1e3 / arguments.steps
        print(
            f"\n{rows} rows, chunks of {loaded.weights.sizes}: {1000 * step:.2f} ms a step\n\n"
            "| of the cores' time | ms a step |\n|---|---|"
        )
        for label, milliseconds in spent.most_common():
            print(f"| {label} | {milliseconds:.2f} |")
        whole = 1000 * step * min(rows, cores)
        print(f"| cores' time in all, without the profiler | {whole:.2f} |")


if __name__ == "__main__":
    main()
