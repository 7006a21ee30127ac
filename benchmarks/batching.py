"""Forty mixed requests at once against the same ones one by one, through the whole service.

    python -m benchmarks.batching [--checkpoint checkpoints/fashion-mnist] [--rounds 2]

Starts `python -m serve` on a port and data folder of its own. The requests ask for 1-2 pictures in
10-50 steps with three samplers, without guidance. In the same run: the bare network at batch 1 and
at its best batch, and a lone request against the bare network at batch 1.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

from benchmarks.machine import describe, pick_device, settle
from models import Model, load_model

SAMPLERS = ("dpmpp_2m", "ddim", "ddpm")
LONE_STEPS = 50


def mixed_requests() -> list[dict[str, Any]]:
    """The same forty every time."""
    chance = random.Random(0)
    return [
        {
            "seed": seed,
            "batch": chance.choice([1, 2]),
            "steps": chance.randint(10, 50),
            "sampler": SAMPLERS[seed % 3],
            "class": seed % 10,
            "guidance_scale": 1,
        }
        for seed in range(40)
    ]


@contextmanager
def service(checkpoint: Path, *, tree: Path | None = None) -> Iterator[httpx.Client]:
    """`python -m serve`, ready; of another checkout where ``tree`` is one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        environment = {
            **os.environ,
            "EMAKI_PORT": str(port),
            "EMAKI_DATA": data,
            "EMAKI_CHECKPOINTS": str(checkpoint.parent),
            "EMAKI_DEFAULT_MODEL": checkpoint.name,
        }
        if tree is not None:
            environment["PYTHONPATH"] = str(tree)
        process = subprocess.Popen([sys.executable, "-m", "serve"], env=environment, cwd=tree)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                _wait_until_ready(client)
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _wait_until_ready(client: httpx.Client) -> None:
    for _ in range(600):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not become ready")


def one_by_one(client: httpx.Client, requests: list[dict[str, Any]]) -> float:
    """Seconds for all, each waited for before the next is sent."""
    began = time.perf_counter()
    for fields in requests:
        answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
        assert answer.json()["status"] == "succeeded", answer.text
    return time.perf_counter() - began


def together(client: httpx.Client, requests: list[dict[str, Any]]) -> float:
    """Seconds for all, all sent at once."""
    began = time.perf_counter()
    waiting = [client.post("/v1/generations", json=f).json()["urls"]["self"] for f in requests]
    while waiting:
        time.sleep(0.1)  # the client shares the cores with what it measures
        while waiting:
            body = client.get(waiting[0]).json()
            if not body["finished_at"]:
                break
            assert body["status"] == "succeeded", body
            waiting.pop(0)
    return time.perf_counter() - began


def bare(model: Model, batch: int, *, rounds: int = 30) -> float:
    """Median seconds of a forward."""
    config = model.manifest.network
    parameter = next(model.network.parameters())
    device = parameter.device
    x = torch.randn(batch, config.channels, *config.size, device=device, dtype=parameter.dtype)
    t = torch.full((batch,), 500.0, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(rounds + 3):
            began = time.perf_counter()
            model.network(x, t, labels)
            settle(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[3:])


def lone_request(client: httpx.Client) -> float:
    """Seconds per step of a request that has the worker to itself."""
    fields = {"steps": LONE_STEPS, "guidance_scale": 1, "class": 7, "sampler": "dpmpp_2m"}
    answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
    timings = answer.json()["timings"]
    return float(timings["queued_ms"] + timings["run_ms"]) / 1000 / LONE_STEPS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(describe())
    torch.set_num_threads(1 << (len(os.sched_getaffinity(0)).bit_length() - 1))
    device = pick_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32  # as the worker's
    model = load_model(arguments.checkpoint, device=device, dtype=dtype)
    requests = mixed_requests()
    with service(arguments.checkpoint) as client:
        one_by_one(client, requests[:4])
        alone, shared = [], []
        for _ in range(arguments.rounds):
            alone.append(one_by_one(client, requests))
            shared.append(together(client, requests))
        lone, single = [], []
        for _ in range(5):
            lone.append(lone_request(client))
            single.append(bare(model, 1))
        batches = {size: bare(model, size) / size for size in (2, 4, 8, 16, 32)}
    best = min(batches, key=lambda size: batches[size])
    steps = sum(r["steps"] * r["batch"] for r in requests)
    one, many = statistics.median(alone), statistics.median(shared)
    print(
        f"40 requests, {steps} image-steps, medians of {arguments.rounds} rounds: one by one "
        f"{one:.1f} s, together {many:.1f} s ({1000 * many / steps:.2f} ms per image-step), "
        f"{one / many:.2f} times faster"
    )
    network = statistics.median(single)
    print(
        f"bare network: {1000 * network:.2f} ms per image-step at batch 1, "
        f"{1000 * batches[best]:.2f} ms at its best batch, {best}"
    )
    print(
        f"a lone request: {1000 * statistics.median(lone):.2f} ms per step from submit to end, "
        f"{statistics.median(lone) / network:.2f} times the bare network at batch 1"
    )


if __name__ == "__main__":
    main()
