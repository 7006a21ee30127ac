"""Redis with a replica, guarded by a Sentinel: the master dies under load; there is no master."""

import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from serve.embedded import find_server
from tests.chaos import hooks
from tests.e2e.service import running
from tests.support import eventually, free_port

QUICK = {"steps": 5, "class": "Circle"}


@dataclass
class Guarded:
    """A master, its replica, and one Sentinel that may decide alone."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("master", "replica", "sentinel")}
    )
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def url(self, service: str = "emaki") -> str:
        return f"redis+sentinel://127.0.0.1:{self.ports['sentinel']}/{service}/1"

    def start(self) -> None:
        plain = ("--save", "", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        self._run("master", *plain)
        self._run("replica", *plain, "--replicaof", "127.0.0.1", str(self.ports["master"]))
        config = self.folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor emaki 127.0.0.1 {self.ports['master']} 1\n"
            "sentinel down-after-milliseconds emaki 1000\n"
            "sentinel failover-timeout emaki 3000\n"
        )
        eventually(lambda: self.info("replica").get("master_link_status") == "up")
        self._run("sentinel", config=config)
        eventually(self.watches_the_replica)

    def info(self, name: str) -> dict[str, object]:
        try:
            with Redis(port=self.ports[name]) as redis:
                return dict(redis.info("replication"))
        except RedisError:
            return {}

    def watches_the_replica(self) -> bool:
        try:
            with Redis(port=self.ports["sentinel"]) as redis:
                return bool(redis.sentinel_slaves("emaki"))
        except RedisError:
            return False

    def wait_for_replica(self) -> None:
        """What was acknowledged so far has reached the replica."""
        with Redis(port=self.ports["master"]) as redis:
            redis.set("mark", 1)
            assert redis.wait(1, 5000) == 1

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _run(self, name: str, *options: str, config: Path | None = None) -> None:
        head = [str(find_server()), *([str(config), "--sentinel"] if config else [])]
        common = ["--bind", "127.0.0.1", "--port", str(self.ports[name]), "--dir", str(self.folder)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen([*head, *common, *options], stdout=log)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    (tmp_path / "guarded").mkdir()
    found = Guarded(tmp_path / "guarded")
    try:
        found.start()
        yield found
    finally:
        found.stop()


def test_what_reached_the_replica_outlives_the_master(guarded: Guarded, tmp_path: Path) -> None:
    hook = hooks.Hook(lambda _id: None)
    told = {**QUICK, "webhook": {"url": hook.url}}
    with running(tmp_path) as service, closing(hook):
        for module in ("worker", "app", "app.webhooks"):
            service.start(module, EMAKI_REDIS_URL=guarded.url(), **hooks.SETTINGS)
        service.wait_until_ready()
        with service.client() as client:
            long = client.post("/v1/generations", json={**told, "steps": 400}).json()
            ids = [client.post("/v1/generations", json=told).json()["id"] for _ in range(10)]
            guarded.wait_for_replica()
            guarded.processes["master"].send_signal(signal.SIGKILL)
            once = {"Idempotency-Key": uuid.uuid4().hex}
            began, refused = time.monotonic(), 0
            while (answer := client.post("/v1/generations", json=QUICK, headers=once)).is_error:
                assert answer.status_code == 503
                assert answer.json()["code"] == "redis_unavailable"
                assert time.monotonic() - began < 30
                refused += 1
                time.sleep(0.1)
            assert refused, "the master was not away"
            for id_ in [long["id"], *ids, answer.json()["id"]]:

                def succeeded(id_: str = id_) -> bool:
                    found = client.get(f"/v1/generations/{id_}")
                    return found.is_success and found.json()["status"] == "succeeded"

                eventually(succeeded, what=f"the end of {id_}")
                assert client.get(f"/v1/generations/{id_}/images/0.png").is_success
        eventually(lambda: not hook.untold([long["id"], *ids]), what="a message of each")
        assert guarded.info("replica")["role"] == "master"
        logs = [service.log(name) for name in ("app", "worker", "app.webhooks")]
        assert "Traceback" not in "".join(logs)


def test_sentinels_that_know_no_such_master_are_named_and_nothing_hangs(
    guarded: Guarded, tmp_path: Path
) -> None:
    with running(tmp_path) as service:
        elsewhere = {"EMAKI_REDIS_URL": guarded.url("other")}
        with service.another_api(**elsewhere) as url:
            answer = httpx.post(f"{url}/v1/generations", json={}, timeout=10)
            assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
        assert "No master found for 'other'" in service.log("app")
        asked = service.start("worker.health", **elsewhere)
        assert asked.wait(timeout=20) == 1
        assert "No master found for 'other'" in service.log("worker.health")
