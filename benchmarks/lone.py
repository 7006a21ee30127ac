"""One request at a time, over HTTP: what a step takes when nobody else asks for anything.

    python -m benchmarks.lone [--rounds 5] [--steps 50] [--before TREE]

One picture, one guided picture (two evaluations a step), two pictures. ``--before`` is another
checkout of this repository, whose service takes turns with this one's: both run all the time, and
idle but for their turn.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import statistics
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from benchmarks.batching import service
from benchmarks.machine import describe
from benchmarks.sampling import Draw, measure

KINDS = {
    "one picture": {"guidance_scale": 1},
    "one guided picture": {"guidance_scale": 2},
    "two pictures": {"guidance_scale": 1, "batch": 2},
}


def ask(client: httpx.Client, fields: dict[str, object]) -> float:
    """Seconds from sending to the answer with the pictures in it."""
    began = time.perf_counter()
    answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
    if answer.json()["status"] != "succeeded":
        raise SystemExit(answer.text)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, help="another checkout, to take turns with")
    arguments = parser.parse_args()
    trees = {"": None, **({"before": arguments.before.resolve()} if arguments.before else {})}
    contenders: dict[str, Draw] = {}
    with ExitStack() as stack:
        print(describe(), flush=True)
        for tree, path in trees.items():
            client = stack.enter_context(service(arguments.checkpoint.resolve(), tree=path))
            for kind, its in KINDS.items():
                fields = {"seed": 1, "class": 7, "steps": arguments.steps, "sampler": "ddim", **its}
                contenders[kind + tree] = partial(ask, client, fields)
        times = measure(contenders, arguments.rounds)
    print(
        f"ms a step, medians of {arguments.rounds} rounds of {arguments.steps} DDIM steps\n\n"
        "| one request by itself | ms a step | before | of before |\n|---|---|---|---|"
    )
    for kind in KINDS:
        step = 1000 * statistics.median(times[kind]) / arguments.steps
        then = share = "-"
        if arguments.before:
            others = times[kind + "before"]
            then = f"{1000 * statistics.median(others) / arguments.steps:.2f}"
            ratio = statistics.median(t / o for t, o in zip(times[kind], others, strict=True))
            share = f"{ratio:.2f}"
        print(f"| {kind} | {step:.2f} | {then} | {share} |")


if __name__ == "__main__":
    main()
