"""The compose file's containers on a real engine, unmodified, as one stack of a test's own."""

import base64
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support import eventually, free_port

ROOT = Path(__file__).parents[2]


def engine() -> list[str]:
    """How Compose is called here; empty where no engine answers or no Compose is installed."""
    if shutil.which("docker") is None or _run(["docker", "info"]).returncode != 0:
        return []
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _run([*command, "version"]).returncode == 0:
            return command
    return []


def _run(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


class Stack:
    """One project: its variables, its containers, its address."""

    project = "emaki-test"
    receiver = f"{project}-hooks"

    def __init__(self, compose: list[str]) -> None:
        self._compose = compose
        self.key, self.password = secrets.token_hex(16), secrets.token_hex(16)
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.port = free_port()
        self.variables = {
            "EMAKI_API_KEYS": self.key,
            "EMAKI_REDIS_PASSWORD": self.password,
            "EMAKI_PORT": str(self.port),
            "EMAKI_PRECISION": "exact",
            "EMAKI_THREADS": "1",
            "EMAKI_WORKER_TTL": "4",
            "EMAKI_WORKER_CPUS": "1.0",
            "EMAKI_WEBHOOK_SECRET": self.secret,
            "EMAKI_WEBHOOK_HOSTS": self.receiver,
        }

    def try_compose(
        self, *arguments: str, without: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Compose with this stack's variables, less one perhaps."""
        variables = {name: value for name, value in self.variables.items() if name != without}
        others = {k: v for k, v in os.environ.items() if not k.startswith("EMAKI_")}
        return _run([*self._compose, "-p", self.project, *arguments], {**others, **variables})

    def compose(self, *arguments: str) -> str:
        """The same, when it must work."""
        answer = self.try_compose(*arguments)
        assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
        return answer.stdout

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The engine's own command line."""
        return _run(["docker", *arguments])

    def containers(self, service: str) -> list[str]:
        """Ids of a service's running containers."""
        return self.compose("ps", "-q", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine knows about a container."""
        facts: dict[str, Any] = json.loads(self.docker("inspect", container).stdout)[0]
        return facts

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=90,
            headers={"Authorization": f"Bearer {self.key}"},
        )

    def wait_until_ready(self, *, workers: int) -> None:
        def ready() -> bool:
            try:
                answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz")
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and answer.json()["workers"] >= workers

        try:
            eventually(ready, seconds=120, what=f"readyz with {workers} workers")
        except AssertionError:
            raise AssertionError(self.compose("logs", "--no-color", "--tail=30")) from None
