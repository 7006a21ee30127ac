"""diffusers' side of `benchmarks.sampling`: run in the peers' environment; not for use alone.

Reads requests for rounds from standard input, a JSON object a line ({pictures, batch, steps}), and
answers each with the seconds it took.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.diffusers_peer import Diffusers


def main() -> None:
    """Draw rounds until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    drawers = {
        name: Diffusers(arguments.folder, dtype=getattr(torch, name))
        for name in ("float32", "bfloat16")
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        began = time.perf_counter()
        for seed in range(0, wanted["pictures"], wanted["batch"]):
            request = {
                "seed": seed,
                "batch": min(wanted["batch"], wanted["pictures"] - seed),
                "steps": wanted["steps"],
                "sampler": "ddim",
                "class": seed % 10,
            }
            drawers[wanted["dtype"]].draw([request])
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
