"""What a picture costs Redis, by its own counts. `python -m benchmarks.commands`.

A real Redis, one worker and one API; clients submit, wait for the end (`Prefer: wait`) and fetch
the picture. INFO before and after says what that took, idle upkeep included; commands inside of
scripts count, too. Counts hardly depend on how busy the machine is; seconds do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.machine import describe
from serve.embedded import EmbeddedRedis

_PORT = "8731"
_URL = f"http://127.0.0.1:{_PORT}"


def draw(body: dict[str, Any]) -> None:
    """One request, from submit to picture."""
    headers = {"Prefer": "wait=60", "Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{_URL}/v1/generations", data, headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        made = json.load(answer)
    with urllib.request.urlopen(_URL + made["images"][0]["url"], timeout=10) as answer:
        answer.read()


def counts(redis: Any) -> dict[str, float]:
    """What Redis has done so far, scripts' own commands told apart from round trips."""
    stats, cpu = redis.info("stats"), redis.info("cpu")
    calls = {name: one["calls"] for name, one in redis.info("commandstats").items()}
    return {
        "commands, those in scripts included": sum(calls.values()),
        "scripts": sum(calls.get(f"cmdstat_{name}", 0) for name in ("eval", "evalsha")),
        "bytes in": stats["total_net_input_bytes"],
        "bytes out": stats["total_net_output_bytes"],
        "ms of processor time": 1000 * (cpu["used_cpu_user"] + cpu["used_cpu_sys"]),
    }


def wait_until_ready() -> None:
    """Until a worker holds a model."""
    while True:
        try:
            with urllib.request.urlopen(f"{_URL}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)


def main() -> None:
    """Print each count per request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder))
        server.start()
        environment = {**os.environ, "EMAKI_REDIS_URL": server.url, "EMAKI_PORT": _PORT}
        children = [
            subprocess.Popen(
                [sys.executable, "-m", module], env=environment, stderr=subprocess.DEVNULL
            )
            for module in ("worker", "app")
        ]
        try:
            wait_until_ready()
            with Redis.from_url(server.url) as redis, ThreadPoolExecutor(chosen.at_once) as pool:
                bodies = [{"class": "Sneaker", "steps": chosen.steps}] * chosen.requests
                list(pool.map(draw, bodies[:10]))
                before, began = counts(redis), time.monotonic()
                list(pool.map(draw, bodies))
                seconds, after = time.monotonic() - began, counts(redis)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait()
            server.stop()
    print(describe())
    asked = f"{chosen.requests} requests of one picture, {chosen.steps} steps"
    print(f"{asked}, {chosen.at_once} at once, in {seconds:.1f} s; of each:")
    for name, value in after.items():
        print(f"  {name}: {(value - before[name]) / chosen.requests:.2f}")


if __name__ == "__main__":
    main()
