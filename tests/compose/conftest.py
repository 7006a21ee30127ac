"""Builds the images and starts the stack once; skips with a reason where there is no engine."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.compose.stack import Stack, engine


def pytest_report_header() -> list[str]:
    compose = engine()
    if not compose:
        return []
    version = ["docker", "version", "--format", "{{.Server.Version}}"]
    commands = {"engine": version, "Compose": [*compose, "version", "--short"]}
    found = {
        name: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        for name, command in commands.items()
    }
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return [f"{when}, engine {found['engine']}, Compose {found['Compose']}"]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    compose = engine()
    if not compose:
        pytest.skip("needs a Docker engine and Compose; start one and run `make test-compose`")
    started = Stack(compose)
    started.compose("down", "--volumes")  # what a killed run may have left
    started.compose("--profile", "train", "build")
    try:
        started.compose("up", "-d", "--scale", "worker=2")
        started.wait_until_ready(workers=2)
        yield started
    finally:
        started.compose("down", "--volumes", "--timeout", "10")
