"""Real processes for the end-to-end tests: Redis, workers and the API, each one's own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis

from serve.embedded import EmbeddedRedis
from tests.e2e.forking import Origin, Process
from tests.support import eventually, free_port, tiny_config, write_checkpoint

_WITHOUT_TORCH = Origin("app.__main__", "app.webhooks.__main__")
_WITH_TORCH = Origin("worker.__main__")


@dataclass
class Service:
    """A Redis server, and the processes that were started on it."""

    folder: Path
    redis: EmbeddedRedis
    port: int = field(default_factory=free_port)
    processes: list[Process] = field(default_factory=list)

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, module: str, **settings: str) -> Process:
        """`python -m MODULE` with its output in MODULE.log."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("EMAKI_")},
            "OMP_WAIT_POLICY": "passive",
            "EMAKI_REDIS_URL": self.redis.url,
            "EMAKI_CHECKPOINTS": str(self.checkpoints),
            "EMAKI_DEFAULT_MODEL": "tiny",
            "EMAKI_PORT": str(self.port),
            "EMAKI_THREADS": "1",
            **settings,
        }
        origin = _WITHOUT_TORCH if module.startswith("app") else _WITH_TORCH
        process = origin.start(module, environment, self.folder / f"{module}.log")
        self.processes.append(process)
        return process

    @contextmanager
    def another_api(self, **settings: str) -> Iterator[str]:
        """One more API process on the same Redis, the last of `processes`; yields its address."""
        port = settings.setdefault("EMAKI_PORT", str(free_port()))
        process = self.start("app", **settings)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, self.log("app")
            try:
                return httpx.get(f"{url}/livez").status_code == 200
            except httpx.TransportError:
                return False

        try:
            eventually(answers, what="the second API")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)
            self.processes.remove(process)

    def client(self, **arguments: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **arguments)  # type: ignore[arg-type]

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            for process in self.processes:
                assert process.poll() is None, f"{process.args!r} ended: {self.log('worker')}"
            try:
                return httpx.get(f"{self.url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, seconds=60, what="readyz 200")

    def connection(self) -> Redis:
        return Redis.from_url(self.redis.url)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.redis.stop()


def write_plain(folder: Path) -> None:
    """A model `plain` without classes, for a service in this folder."""
    no_classes = tiny_config(num_class_embeds=None, null_class=None)
    write_checkpoint(folder / "checkpoints", "plain", config=no_classes, classes=())


@contextmanager
def running(folder: Path, *modules: str, **settings: str) -> Iterator[Service]:
    """A service on its own Redis with these modules started; everything is stopped at the end."""
    write_checkpoint(folder / "checkpoints", "tiny", step=1)
    write_checkpoint(folder / "checkpoints", "tiny", step=2)
    redis = EmbeddedRedis(folder / "data")
    redis.start()
    service = Service(folder, redis)
    try:
        for module in modules:
            service.start(module, **settings)
        if {"app", "worker"} <= set(modules):
            service.wait_until_ready()
        yield service
    finally:
        service.stop()
