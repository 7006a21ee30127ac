"""Mixed requests over HTTP: Emaki, FastAPI calling diffusers, LitServe with dynamic batching.

    python -m benchmarks.serving [--rounds 3] [--loads 50 80 95]

All draw with the same network: the checkpoint, for the peers converted to a diffusers folder. The
requests ask for 1-4 pictures in 10-50 steps with three samplers, without guidance. LitServe draws
equal steps together: `--grid 10` makes many equal, which is kind to it.

First all are sent at once; then by a Poisson process, each when its time comes whatever was
answered, at shares of what LitServe got through at once. Rounds alternate between the servers,
which idle otherwise.

A request's time ends when its pictures are there. "First step" is from sending to the end of the
first network evaluation that it was part of, on the clock of this machine.
"""

import os

# Read when torch loads its OpenMP: as a worker waits. The peers keep torch's own default.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import asyncio
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from benchmarks.batching import service
from benchmarks.machine import describe
from benchmarks.peers import SERVING, peers_python

SAMPLERS = ("dpmpp_2m", "ddim", "ddpm")


@dataclass(frozen=True)
class Answered:
    """One request's way: seconds since it was sent, and rows a network evaluation; 0: unknown."""

    seconds: float
    first_step: float
    rows: float = 0.0


@dataclass(frozen=True)
class Run:
    """One server under one load."""

    steps_per_second: float
    pictures_per_second: float
    p50: float
    p95: float
    first_step: float
    occupancy: float


class Server(Protocol):
    """Somebody who draws."""

    name: str

    async def ask(self, client: httpx.AsyncClient, fields: dict[str, Any]) -> Answered:
        """Send a request and wait for its pictures."""

    def evaluations(self) -> tuple[float, float]:
        """Steps and rows so far, where the server counts them; else zeros."""


class Peer:
    """`benchmarks.serving_fastapi` or `benchmarks.serving_litserve`."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self._url = name, url

    async def ask(self, client: httpx.AsyncClient, fields: dict[str, Any]) -> Answered:
        began, sent_at = time.perf_counter(), time.time()
        answer = await client.post(f"{self._url}/predict", json=fields)
        body = answer.raise_for_status().json()
        assert len(body["pngs"]) == fields["batch"], body
        seconds = time.perf_counter() - began
        return Answered(seconds, body["first_step_at"] - sent_at, body["rows"])

    def evaluations(self) -> tuple[float, float]:
        return 0.0, 0.0


class Emaki:
    """`python -m serve`."""

    name = "emaki"

    def __init__(self, client: httpx.Client) -> None:
        self._url, self._client = str(client.base_url).rstrip("/"), client

    async def ask(self, client: httpx.AsyncClient, fields: dict[str, Any]) -> Answered:
        began, sent_at = time.perf_counter(), time.time()
        answer = await client.post(
            f"{self._url}/v1/generations",
            json=fields | {"guidance_scale": 1},
            headers={"Prefer": "wait=60"},
        )
        body = answer.raise_for_status().json()
        while not body["finished_at"]:
            await asyncio.sleep(0.2)
            body = (await client.get(self._url + body["urls"]["self"])).json()
        assert body["status"] == "succeeded", body["error"]
        for image in body["images"]:
            (await client.get(self._url + image["url"])).raise_for_status()
        started_at = sent_at if body["started_at"] is None else _unix(body["started_at"])
        return Answered(time.perf_counter() - began, started_at - sent_at)

    def evaluations(self) -> tuple[float, float]:
        """As the worker has told Redis, which it does every other second."""
        time.sleep(3)
        lines = self._client.get("/metrics").text.splitlines()
        counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return float(counts["emaki_steps_total"]), float(counts["emaki_image_steps_total"])


def mixed_requests(count: int, *, grid: int) -> list[dict[str, Any]]:
    """The same every time; steps are multiples of ``grid``, and the more are equal the larger."""
    chance = random.Random(0)
    return [
        {
            "seed": 1000 * number,
            "batch": chance.randint(1, 4),
            "steps": chance.choice(range(10, 51, grid)),
            "sampler": SAMPLERS[number % 3],
            "class": number % 10,
        }
        for number in range(count)
    ]


async def drive(
    server: Server, requests: Sequence[dict[str, Any]], moments: Sequence[float]
) -> tuple[float, list[Answered]]:
    """Send each request at its moment; seconds until all are answered, and the answers."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=None, limits=limits) as client:
        began = time.perf_counter()

        async def send(fields: dict[str, Any], moment: float) -> Answered:
            await asyncio.sleep(max(0.0, moment - (time.perf_counter() - began)))
            return await server.ask(client, fields)

        answers = await asyncio.gather(*map(send, requests, moments))
        return time.perf_counter() - began, answers


def measure(
    server: Server, requests: Sequence[dict[str, Any]], moments: Sequence[float]
) -> tuple[float, Run]:
    """Drive it once; the seconds that took, and the figures."""
    before = server.evaluations()
    seconds, answers = asyncio.run(drive(server, requests, moments))
    after = server.evaluations()
    row_steps = sum(r["batch"] * r["steps"] for r in requests)
    steps, rows = after[0] - before[0], after[1] - before[1]
    if not steps:
        rows = row_steps
        steps = sum(
            r["batch"] * r["steps"] / a.rows for r, a in zip(requests, answers, strict=True)
        )
    times = [answer.seconds for answer in answers]
    return seconds, Run(
        steps_per_second=row_steps / seconds,
        pictures_per_second=sum(r["batch"] for r in requests) / seconds,
        p50=statistics.median(times),
        p95=statistics.quantiles(times, n=20, method="inclusive")[-1],
        first_step=statistics.median(answer.first_step for answer in answers),
        occupancy=rows / steps,
    )


@contextmanager
def peer(name: str, folder: Path, *options: str) -> Iterator[Peer]:
    """A server of the peers' environment, ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    del environment["OMP_WAIT_POLICY"]  # spinning is faster for a server by itself
    module = [str(peers_python(*SERVING)), "-m", f"benchmarks.serving_{name}"]
    process = subprocess.Popen(
        [*module, f"--folder={folder}", f"--port={port}", *options],
        env=environment,
        start_new_session=True,  # LitServe's processes end together
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
        else:
            raise SystemExit(f"{name} did not become ready within a minute; see its lines above")
        yield Peer(name, url)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def poisson(count: int, *, per_second: float, seed: int) -> list[float]:
    """Moments of ``count`` arrivals."""
    chance, moment, moments = random.Random(seed), 0.0, []
    for _ in range(count):
        moment += chance.expovariate(per_second)
        moments.append(moment)
    return moments


def table(title: str, runs: dict[str, list[Run]]) -> None:
    """Print medians, a row a server."""
    print(
        f"\n{title}\n\n| server | picture-steps/s | pictures/s | p50 | p95 | first step | rows an "
        "evaluation |\n|---|---|---|---|---|---|---|"
    )
    for name, some in runs.items():

        def mid(field: str, some: list[Run] = some) -> float:
            return float(statistics.median(getattr(run, field) for run in some))

        print(
            f"| {name} | {mid('steps_per_second'):.0f} | {mid('pictures_per_second'):.2f} | "
            f"{mid('p50'):.2f} s | {mid('p95'):.2f} s | {mid('first_step'):.2f} s | "
            f"{mid('occupancy'):.1f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", type=int, nargs="*", default=[50, 80, 95], help="per cent")
    parser.add_argument("--grid", type=int, default=1, help="10: steps are 10, 20 ... 50")
    parser.add_argument("--litserve-batch", type=int, default=16, help="requests in a batch")
    arguments = parser.parse_args()
    requests = mixed_requests(arguments.requests, grid=arguments.grid)
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work) / "diffusers"
        convert = [sys.executable, "-m", "training", "convert", arguments.checkpoint, folder]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        print(describe(), flush=True)
        batch = f"--batch={arguments.litserve_batch}"
        servers: list[Server] = [
            Emaki(stack.enter_context(service(arguments.checkpoint))),
            stack.enter_context(peer("fastapi", folder)),
            stack.enter_context(peer("litserve", folder, batch)),
        ]
        for server in servers:
            asyncio.run(drive(server, requests[:6], [0.0] * 6))

        def rounds(moments: list[list[float]]) -> tuple[dict[str, float], dict[str, list[Run]]]:
            seconds: dict[str, list[float]] = {server.name: [] for server in servers}
            runs: dict[str, list[Run]] = {server.name: [] for server in servers}
            for turn, some in enumerate(moments):
                shift = turn % len(servers)
                for server in servers[shift:] + servers[:shift]:
                    took, run = measure(server, requests, some)
                    seconds[server.name].append(took)
                    runs[server.name].append(run)
            return {name: statistics.median(some) for name, some in seconds.items()}, runs

        seconds, runs = rounds([[0.0] * len(requests)] * arguments.rounds)
        pictures = sum(request["batch"] for request in requests)
        table(f"{len(requests)} requests, {pictures} pictures, at once", runs)
        capacity = len(requests) / seconds["litserve"]
        for load in arguments.loads:
            rate = capacity * load / 100
            _, runs = rounds(
                [poisson(len(requests), per_second=rate, seed=n) for n in range(arguments.rounds)]
            )
            table(f"{load} % of LitServe's capacity: {rate:.2f} requests/s, Poisson", runs)


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    main()
