"""Cold start: from `python -m serve` to ready, and the first request against the tenth.

    python -m benchmarks.start [--rounds 5]

What `make serve` runs once everything is installed, each time on a port and data folder of its own.
"""

import argparse
import statistics
import time
from pathlib import Path

from benchmarks.batching import service
from benchmarks.machine import describe

FIELDS = {"steps": 20, "sampler": "ddim", "class": 7, "guidance_scale": 1}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(describe(), flush=True)
    ready, requests = [], []
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        with service(arguments.checkpoint) as client:
            ready.append(time.perf_counter() - began)
            times = []
            for seed in range(10):
                sent = time.perf_counter()
                answer = client.post(
                    "/v1/generations", json=FIELDS | {"seed": seed}, headers={"Prefer": "wait=60"}
                )
                times.append(time.perf_counter() - sent)
                assert answer.json()["status"] == "succeeded", answer.text
            requests.append(times)
    print(
        f"medians of {arguments.rounds} starts: ready after {statistics.median(ready):.1f} s; one "
        f"picture of {FIELDS['steps']} steps: the first request took "
        f"{1000 * statistics.median(times[0] for times in requests):.0f} ms, the tenth "
        f"{1000 * statistics.median(times[9] for times in requests):.0f} ms, the first "
        f"{statistics.median(times[0] / times[9] for times in requests):.2f} times as long"
    )


if __name__ == "__main__":
    main()
