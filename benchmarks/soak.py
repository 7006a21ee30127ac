"""Hours of mixed load on real processes: does anything grow that should not?

    python -m benchmarks.soak [--minutes 60] [--clients 4] [--ttl 60]

Starts a Redis, a worker and the API of its own. Clients submit, wait, poll, stream, cancel and err;
results expire after `--ttl` seconds, so what is kept reaches a steady level. Memory and open files
of each process are sampled from /proc; after a warm-up (a fifth of the time) a line is fitted by
least squares, whose slope is given with twice its standard error. At the end the load stops, the
results expire, and every key that is left in Redis is counted. Exit code 1 when a key is left that
nothing will remove, a request was lost, or open files grew.
"""

import argparse
import math
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from benchmarks.machine import describe
from serve.embedded import EmbeddedRedis

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MIB = 2**20
# Of the service, however long it runs: known without looking at any one generation.
_LASTING = re.compile(
    r"emaki:(images|metrics.*|models|served|drawable|queued|backlog|drawn|waits|waiting|workers"
    r"|worker:.*|batch:.*|waiting:[^:]+)|rq:(queues|workers.*|worker:.*)"
)


@dataclass
class Watched:
    """A process, and what it took over time."""

    name: str
    pid: int
    seconds: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def sample(self, moment: float) -> None:
        """Look at /proc."""
        proc = Path("/proc") / str(self.pid)
        pages = int((proc / "statm").read_text().split()[1])
        self.seconds.append(moment)
        self.rss.append(pages * os.sysconf("SC_PAGESIZE") / _MIB)
        self.files.append(len(list((proc / "fd").iterdir())))

    def after(self, moment: float) -> "Watched":
        """The same without what came before."""
        first = next(i for i, second in enumerate(self.seconds) if second >= moment)
        return Watched(
            self.name, self.pid, self.seconds[first:], self.rss[first:], self.files[first:]
        )


def slope(x: list[float], y: list[float]) -> tuple[float, float]:
    """The least-squares line's slope, and its standard error."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((value - mean_x) ** 2 for value in x)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - mean_y - rise * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return rise, math.sqrt(rest / max(1, n - 2) / spread)


class Load:
    """Clients in threads, until told to stop."""

    def __init__(self, url: str, clients: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url, self._over = url, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client finish what it does."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        deeds = (self._wait, self._wait, self._poll, self._stream, self._cancel, self._err)
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not self._over.is_set():
                deed = chance.choice(deeds)
                try:
                    deed(client, chance)
                except (AssertionError, httpx.HTTPError) as error:
                    self.failures.append(f"{deed.__name__}: {error!r}")
                self.counts[deed.__name__.strip("_")] += 1

    def _submit(self, client: httpx.Client, chance: random.Random, **fields: Any) -> dict[str, Any]:
        asked = {
            "class": chance.randrange(10),
            "steps": chance.randint(4, 20),
            "batch": chance.choice([1, 1, 2, 4]),
            "sampler": chance.choice(["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde"]),
            "guidance_scale": chance.choice([0, 1, 1.5]),
            "strip": chance.choice([0, 0, 5]),
            "preview_every": chance.choice([0, 0, 3]),
        }
        answer = client.post("/v1/generations", json={**asked, **fields})
        assert answer.status_code == 202, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def _wait(self, client: httpx.Client, chance: random.Random) -> None:
        headers = {"Prefer": "wait=60", "Accept": "image/png"}
        answer = client.post(
            "/v1/generations", json={"steps": chance.randint(1, 20)}, headers=headers
        )
        assert answer.content.startswith(b"\x89PNG"), answer.text

    def _poll(self, client: httpx.Client, chance: random.Random) -> None:
        body = self._submit(client, chance)
        while not body["finished_at"]:
            time.sleep(0.1)
            body = client.get(body["urls"]["self"]).json()
        assert body["status"] == "succeeded", body["error"]
        for image in body["images"]:
            assert client.get(image["url"]).status_code == 200

    def _stream(self, client: httpx.Client, chance: random.Random) -> None:
        body = self._submit(client, chance)
        with client.stream("GET", body["urls"]["events"]) as stream:
            names = [line for line in stream.iter_lines() if line.startswith("event:")]
        assert names[-1] == "event: done", names

    def _cancel(self, client: httpx.Client, chance: random.Random) -> None:
        body = self._submit(client, chance, steps=1000)
        time.sleep(chance.uniform(0, 0.5))
        answer = client.post(body["urls"]["cancel"])
        assert answer.json()["status"] == "canceled", answer.text

    def _err(self, client: httpx.Client, chance: random.Random) -> None:
        bad = chance.choice([{"steps": 0}, {"model": "none"}, {"class": "none"}, {"none": 1}])
        assert client.post("/v1/generations", json=bad).status_code in (404, 422)
        assert client.get(f"/v1/generations/{'0' * 32}").status_code == 404


def keys_left(redis: Redis) -> dict[str, tuple[int, int]]:
    """Families of keys: how many, and how many of these nothing will ever remove."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for raw in redis.scan_iter(count=1000):
        key = raw.decode()
        entry = found[_ID.sub("<id>", key)]
        entry[0] += 1
        entry[1] += redis.ttl(key) == -1 and not _LASTING.fullmatch(key)
    return {family: (count, leaked) for family, (count, leaked) in sorted(found.items())}


def report(watched: list[Watched], *, warm_up: float) -> bool:
    """Print the table; whether open files stayed."""
    print("| process | MiB after warm-up | at the end | MiB per hour | open files, at the end |")
    print("|---|---|---|---|---|")
    stayed = True
    for process in watched:
        late = process.after(warm_up)
        rise, error = slope(late.seconds, late.rss)
        print(
            f"| {late.name} | {late.rss[0]:.1f} | {late.rss[-1]:.1f} | {rise * 3600:+.2f} ± "
            f"{2 * error * 3600:.2f} | {late.files[0]}, {late.files[-1]} |"
        )
        half = len(late.files) // 2
        # Clients come and go: what counts is whether the most that is open rises.
        stayed &= max(late.files[half:]) <= max(late.files[:half]) + 4
    return stayed


def main() -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--ttl", type=int, default=60, help="seconds that results are kept")
    arguments = parser.parse_args()
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as data:
        redis = EmbeddedRedis(Path(data))
        redis.start()
        assert redis.process is not None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "OMP_WAIT_POLICY": "passive",
            "EMAKI_REDIS_URL": redis.url,
            "EMAKI_PORT": str(port),
            "EMAKI_RESULT_TTL": str(arguments.ttl),
            "EMAKI_LOG_LEVEL": "WARNING",
        }
        children = {
            module: subprocess.Popen([sys.executable, "-m", module], env=environment)
            for module in ("worker", "app")
        }
        watched = [Watched("redis", redis.process.pid)]
        watched += [Watched(module, child.pid) for module, child in children.items()]
        try:
            return _soak(arguments, redis.url, f"http://127.0.0.1:{port}", watched)
        finally:
            for child in children.values():
                child.terminate()
            for child in children.values():
                child.wait()
            redis.stop()


def _soak(arguments: argparse.Namespace, redis_url: str, url: str, watched: list[Watched]) -> int:
    _wait_until_ready(url)
    load = Load(url, arguments.clients)
    load.start()
    began = time.monotonic()
    while (moment := time.monotonic() - began) < arguments.minutes * 60:
        for process in watched:
            process.sample(moment)
        time.sleep(1)
    load.stop()
    print(f"{arguments.minutes:g} minutes, {arguments.clients} clients: ", end="")
    print(", ".join(f"{count} x {name}" for name, count in sorted(load.counts.items())))
    files_stayed = report(watched, warm_up=arguments.minutes * 60 / 5)
    time.sleep(arguments.ttl + 10)
    with Redis.from_url(redis_url) as redis:
        left = keys_left(redis)
        used = int(redis.info("memory")["used_memory"]) / _MIB
    print(f"\nRedis {arguments.ttl + 10} s after the load ended: {used:.1f} MiB used")
    for family, (count, leaked) in left.items():
        print(f"  {count:6} {family}{f', {leaked} LEAKED' if leaked else ''}")
    leaks = sum(leaked for _, leaked in left.values())
    for failure in load.failures[:10]:
        print(f"FAILED {failure}")
    print(
        f"{len(load.failures)} failures, {leaks} leaked keys, open files "
        f"{'stayed' if files_stayed else 'GREW'}"
    )
    return int(bool(leaks or load.failures or not files_stayed))


def _wait_until_ready(url: str) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the service did not become ready within two minutes; see its lines above")


if __name__ == "__main__":
    sys.exit(main())
