"""Redis full in memory or on disk: a clear refusal, and nothing that was accepted is lost."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from redis.exceptions import RedisError, ResponseError

from tests.chaos.test_failures import EXACT, SMALL, done_events, end, look, pictures, submit
from tests.e2e.service import Service, running
from tests.support import eventually

LONG = {"class": "Circle", "steps": 150, "batch": 4, "seed": 9}


@contextmanager
def memory_full(service: Service) -> Iterator[None]:
    with service.connection() as redis:
        redis.config_set("maxmemory", "1mb")
        yield
        redis.config_set("maxmemory", "0")


@contextmanager
def disk_full(service: Service) -> Iterator[None]:
    """Its append-only file may not grow: to Redis the same as a disk without space."""
    assert service.redis.process is not None
    pid = service.redis.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in (service.folder / "data").rglob("*.aof"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def restart_redis_so_that_it_hears_of_a_full_disk(service: Service) -> None:
    """Python lets its children die of SIGXFSZ unless told otherwise."""
    process = service.redis.process
    assert process is not None
    process.terminate()
    process.wait()
    service.redis.process = subprocess.Popen(
        process.args, stdout=subprocess.DEVNULL, restore_signals=False
    )

    def answers() -> bool:
        with service.connection() as redis:
            return bool(redis.ping())

    eventually(lambda: _quietly(answers), what="Redis")


def _quietly(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except RedisError:
        return False


def refuses(service: Service) -> bool:
    with service.connection() as redis:
        try:
            redis.set("probe", "x")
        except ResponseError:
            return True
    return False


@pytest.mark.parametrize("full", [memory_full, disk_full])
def test_a_full_redis_refuses_clearly_and_loses_nothing(
    tmp_path: Path, full: Callable[[Service], AbstractContextManager[None]]
) -> None:
    with running(tmp_path) as service, service.client() as client:
        restart_redis_so_that_it_hears_of_a_full_disk(service)
        for module in ("worker", "app"):
            service.start(module, **EXACT)
        service.wait_until_ready()
        expected = pictures(end(client, submit(client, **LONG)))
        ids = [submit(client, **LONG) for _ in range(2)]
        eventually(lambda: look(client, ids[0])["progress"]["step"] > 2, what="the first steps")
        with full(service):
            eventually(lambda: refuses(service), what="a full Redis")
            answer = client.post("/v1/generations", json=SMALL)
            assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
            assert "takes no writes" in answer.json()["detail"]
            assert answer.headers["retry-after"]
            assert look(client, ids[0])["status"] in ("queued", "running")
            eventually(lambda: "takes no writes" in service.log("worker"))
            time.sleep(4)  # beyond what makes other workers think that this one has died
        for id_ in ids:
            assert pictures(end(client, id_)) == expected
            assert done_events(service, id_) == 1
        assert pictures(end(client, submit(client, **SMALL)))
        assert all(process.poll() is None for process in service.processes)
        assert "Traceback" not in service.log("worker") + service.log("app")
