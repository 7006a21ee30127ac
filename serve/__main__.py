"""`python -m serve`: start everything, print the address when ready, keep it running, stop it all.

A process that dies is started again, a little later each time it dies young. Ctrl-C or SIGTERM
stops the API, then the worker, then Redis, and leaves no process behind.
"""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from serve.embedded import EmbeddedRedis, EmbeddedRedisError
from serve.orphans import end_with_parent

_STOP_SECONDS = 15
_LONGEST_PAUSE = 10.0
_SETTINGS_ERROR = 2


@dataclass
class Child:
    """A Python module that should be running."""

    module: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.5
    not_before: float = field(default=0.0)

    def start(self) -> None:
        """Run the module in a process group of its own, so that Ctrl-C reaches only us."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own modules
            [sys.executable, "-m", self.module],
            env=self.environment,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads here
        )

    def look_after(self) -> int | None:
        """Start it again if it died; the exit code of one that cannot work with its settings."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return None
        if code == _SETTINGS_ERROR:
            return code
        now = time.monotonic()
        if not self.not_before:
            lived = now - self.started
            self.pause = 0.5 if lived > 60 else min(self.pause * 2, _LONGEST_PAUSE)
            self.not_before = now + self.pause
            say(f"{self.module} ended with {code}; starting it again in {self.pause:.0f} s")
        elif now >= self.not_before:
            self.not_before = 0.0
            self.start()
        return None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{self.module} did not stop within {_STOP_SECONDS} s; killing it")
            self.process.kill()
            self.process.wait()


def say(text: str) -> None:
    """One line to whoever started this."""
    print(f"emaki: {text}", file=sys.stderr, flush=True)


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
        for module in ("worker", "app"):
            child = Child(module, environment)
            children.append(child)
            child.start()
        code = _watch(children, redis, environment, stop)
    except EmbeddedRedisError as error:
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
