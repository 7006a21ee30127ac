"""`python -m serve`: start everything, print the address when ready, keep it running, stop it all.

A process that dies is started again, a little later each time it dies young. Ctrl-C or SIGTERM
stops the API, then the workers, then Redis, and leaves no process behind.
"""

import http.client
import os
import signal
import sys
import threading
import urllib.request
from pathlib import Path

from serve.children import Child, say
from serve.embedded import EmbeddedRedis, EmbeddedRedisError
from serve.workers import WorkersError, environments


def main() -> int:
    """Run until told to stop; 0 then, 2 when something cannot start at all."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _signal, _frame: stop.set())
    environment = {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", **os.environ}
    redis: EmbeddedRedis | None = None
    children: list[Child] = []
    code = 0
    try:
        if not environment.get("EMAKI_REDIS_URL"):
            redis = EmbeddedRedis(Path(environment.get("EMAKI_DATA") or ".data"))
            redis.start()
            say(f"Redis: {redis.binary} at {redis.url}")
            environment["EMAKI_REDIS_URL"] = redis.url
        children += [Child("worker", its) for its in environments(environment)]
        children += [Child("app.webhooks", environment), Child("app", environment)]
        for child in children:
            child.start()
        code = _watch(children, redis, environment, stop)
    except (EmbeddedRedisError, WorkersError) as error:
        say(f"error: {error}")
        code = 2
    finally:
        say("stopping")
        for child in reversed(children):
            child.stop()
        if redis is not None:
            redis.stop()
    return code


def _watch(
    children: list[Child],
    redis: EmbeddedRedis | None,
    environment: dict[str, str],
    stop: threading.Event,
) -> int:
    """Keep everything running until told to stop; 2 when a child's settings cannot work."""
    host = environment.get("EMAKI_HOST") or "127.0.0.1"
    port = environment.get("EMAKI_PORT") or "8000"
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104
    announced = False
    while not stop.wait(0.2):
        for child in children:
            code = child.look_after()
            if code is not None:
                say(f"error: {child.module} cannot run with these settings; see its line above")
                return code
        if redis is not None and redis.process is not None and redis.process.poll() is not None:
            say(f"Redis ended with {redis.process.returncode}; starting it again")
            redis.start()
        if not announced and _ready(address):
            announced = True
            say(f"ready at {address}")
    return 0


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as answer:  # noqa: S310 - http
            return bool(answer.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(main())
