"""One failure at a time, each on real processes: what is accepted is drawn, once, and the same."""

import io
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.service import Service, running
from tests.support import eventually, write_checkpoint

EXACT = {"EMAKI_PRECISION": "exact", "EMAKI_WORKER_TTL": "3"}
SMALL = {"class": "Circle", "steps": 20}
LONG = {"class": "Circle", "steps": 200, "batch": 2, "seed": 9}  # a second of work


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/generations", json=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(client: httpx.Client, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/v1/generations/{id_}").json()
    return body


def end(client: httpx.Client, id_: str, *, seconds: float = 60) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        body = look(client, id_)
        return body if body.get("finished_at") else None

    return eventually(finished, seconds=seconds, what=f"the end of {id_}")


def under_way(client: httpx.Client, id_: str) -> None:
    def begun() -> dict[str, Any] | None:
        body = look(client, id_)
        return body if body["progress"]["step"] > 2 else None

    body = eventually(begun, what="the first steps")
    assert not body["finished_at"], "there is nothing left to interrupt; ask for more steps"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), 99).save(file, "png")
    return file.getvalue()


def pictures(body: dict[str, Any]) -> list[str]:
    assert body["status"] == "succeeded", body["error"]
    return [image["sha256"] for image in body["images"]]


@contextmanager
def poisoned(folder: Path, harm: str, **settings: str) -> Iterator[tuple[Service, httpx.Client]]:
    with running(folder, "app") as service, service.client() as client:
        service.start("tests.chaos.poisoned", POISON=harm, **settings)
        service.wait_until_ready()
        yield service, client


def test_a_request_that_makes_the_step_raise_fails_alone(tmp_path: Path) -> None:
    with poisoned(tmp_path, "raise") as (_, client):
        good = [submit(client, **LONG | {"seed": i}) for i in range(2)]
        under_way(client, good[0])
        bad = submit(client, **{"class": "Square"})
        failed = end(client, bad)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "drawing_failed"
        assert "this class is poison" in failed["error"]["detail"]
        for id_ in good:
            assert len(pictures(end(client, id_))) == 2


def test_requests_join_and_leave_what_runs_within_two_steps(tmp_path: Path) -> None:
    with poisoned(tmp_path, "slow") as (_, client):
        long = submit(client, steps=900)
        under_way(client, long)
        before = look(client, long)["progress"]["step"]
        short = {"steps": 1, "guidance_scale": 1}
        answer = client.post("/v1/generations", json=short, headers={"Prefer": "wait=30"})
        assert answer.json()["status"] == "succeeded"
        # Two steps to join, one of its own, and the steps between looking and asking.
        before_cancel = look(client, long)["progress"]["step"]
        assert before_cancel - before <= 5
        canceled = client.post(f"/v1/generations/{long}/cancel").json()
        assert canceled["status"] == "canceled"
        assert canceled["progress"]["step"] - before_cancel <= 3  # two, and one since looking


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "app", "worker") as service, service.client() as client:
        expected = pictures(end(client, submit(client, **LONG | {"steps": 40, "batch": 8})))
    (tmp_path / "again").mkdir()
    with running(tmp_path / "again", "app") as service, service.client() as client:
        service.start("tests.chaos.poisoned", POISON="oom")
        service.wait_until_ready()
        drawn = pictures(end(client, submit(client, **LONG | {"steps": 40, "batch": 8})))
        assert "no memory for chunks of 8" in service.log("tests.chaos.poisoned")
        assert len(drawn) == len(expected)


@pytest.mark.parametrize("harm", ["kill", "read"])
def test_a_request_that_kills_the_worker_fails_and_its_neighbours_do_not(
    tmp_path: Path, harm: str
) -> None:
    with poisoned(tmp_path, harm, EMAKI_WORKER_TTL="2") as (service, client):
        good = [submit(client, **LONG | {"seed": i}) for i in range(2)]
        under_way(client, good[0])
        picture = client.post("/v1/uploads", content=png()).json()["url"]
        # In a step, or before there is one: while a picture is read to begin from.
        bad = submit(client, **{"class": "Square"} if harm == "kill" else {"init_image": picture})
        deaths = 0
        deadline = time.monotonic() + 110
        while not look(client, bad)["finished_at"]:
            assert time.monotonic() < deadline, look(client, bad)
            worker = service.processes[-1]
            if worker.poll() is not None:
                deaths += 1
                service.processes.remove(worker)
                service.start("tests.chaos.poisoned", POISON=harm, EMAKI_WORKER_TTL="2")
            time.sleep(0.05)
        failed = look(client, bad)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "worker_died"
        assert deaths == 1 + 3  # once in company, then alone until it was enough
        for id_ in good:
            assert len(pictures(end(client, id_))) == 2


def test_a_hung_step_ends_the_worker_and_readyz_is_honest(tmp_path: Path) -> None:
    with poisoned(tmp_path, "hang", EMAKI_STEP_TIMEOUT="6") as (service, client):
        bad = submit(client, **{"class": "Square"})
        hung = service.processes[-1]
        eventually(lambda: hung.poll() is not None, seconds=30, what="the worker's leaving")
        assert hung.returncode == 70
        assert "heartbeats stop" in service.log("tests.chaos.poisoned")
        service.processes.remove(hung)
        eventually(lambda: client.get("/readyz").status_code == 503, seconds=20)
        service.start("worker")
        service.wait_until_ready()
        assert pictures(end(client, bad))  # a healthy worker draws it


def test_sigterm_drains_and_leaves_the_rest_queued(tmp_path: Path) -> None:
    settings = {**EXACT, "EMAKI_DRAIN_SECONDS": "1"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        expected = pictures(end(client, submit(client, **LONG)))
        short = submit(client, **SMALL)
        long = [submit(client, **LONG | {"steps": 1000, "batch": 64}) for _ in range(2)]
        again = submit(client, **LONG)
        under_way(client, long[0])
        worker = service.processes.pop(0)
        worker.terminate()
        assert worker.wait(timeout=20) == 0
        assert pictures(end(client, short))
        for id_ in long:
            assert look(client, id_)["status"] in ("queued", "running")
            client.post(f"/v1/generations/{id_}/cancel")
        service.start("worker", **settings)
        assert pictures(end(client, again)) == expected


def test_a_sleeping_worker_is_replaced_and_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    settings = {**EXACT, "EMAKI_STEP_TIMEOUT": "6"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        expected = pictures(end(client, submit(client, **LONG)))
        id_ = submit(client, **LONG)
        under_way(client, id_)
        sleeper = service.processes[0]
        sleeper.send_signal(signal.SIGSTOP)
        assert not look(client, id_)["finished_at"]
        service.start("worker", **EXACT)
        assert pictures(end(client, id_)) == expected
        time.sleep(4)  # beyond what counts as hung
        sleeper.send_signal(signal.SIGCONT)
        time.sleep(2)
        assert pictures(look(client, id_)) == expected
        assert done_events(service, id_) == 1
        assert pictures(end(client, submit(client, **LONG))) == expected
        assert sleeper.poll() is None


def done_events(service: Service, id_: str) -> int:
    with service.connection() as redis:
        entries: Any = redis.xrange(f"emaki:gen:{id_}:events")
    return [fields[b"event"] for _, fields in entries].count(b"done")


def test_redis_restarted_in_mid_run_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app", **EXACT) as service, service.client() as client:
        expected = pictures(end(client, submit(client, **LONG)))
        running_, queued = submit(client, **LONG), submit(client, **SMALL)
        under_way(client, running_)
        assert service.redis.process is not None
        service.redis.process.terminate()
        service.redis.process.wait(timeout=20)
        answer = client.post("/v1/generations", json=SMALL)
        assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
        assert answer.headers["retry-after"]
        time.sleep(3)
        service.redis.start()
        assert pictures(end(client, running_)) == expected
        assert pictures(end(client, queued))
        assert all(process.poll() is None for process in service.processes)


def test_two_workers_share_a_queue(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app", **EXACT) as service, service.client() as client:
        service.start("worker", **EXACT)
        eventually(lambda: client.get("/readyz").json().get("workers") == 2)
        ids = [submit(client, **LONG) for _ in range(8)]
        ends = [end(client, id_) for id_ in ids]
        assert len({tuple(pictures(body)) for body in ends}) == 1
        with service.connection() as redis:
            drawn_by = {redis.hget(f"emaki:gen:{id_}", "worker") for id_ in ids}
        assert len(drawn_by) == 2


def test_workers_with_different_models_share_a_queue(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        write_checkpoint(tmp_path / "others", "other")
        service.start("worker", EMAKI_CHECKPOINTS=str(tmp_path / "others"))
        eventually(lambda: client.get("/v1/models/other").status_code == 200)
        ids = [submit(client, model=model, steps=20) for model in ("tiny", "other") * 5]
        for id_ in ids:
            assert pictures(end(client, id_))


def test_one_key_with_hundreds_of_requests_does_not_delay_another(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app", EMAKI_API_KEYS="greedy,modest") as service:
        greedy = service.client(headers={"Authorization": "Bearer greedy"})
        modest = service.client(headers={"Authorization": "Bearer modest"})
        with greedy, modest:
            for _ in range(300):
                submit(greedy, steps=1000, batch=8)
            began = time.monotonic()
            body = end(modest, submit(modest, steps=10), seconds=20)
            assert body["status"] == "succeeded"
            assert time.monotonic() - began < 10
            listing = greedy.get("/readyz").json()
            assert listing["status"] == "ready"


def test_strange_ids_in_the_queue_are_dropped(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        with service.connection() as redis:
            redis.rpush("rq:queue:emaki", b"", b"no such job", b"\xff\xfe")
            redis.hset("rq:job:broken", mapping={"created_at": "zzz", "data": b"junk"})
            redis.rpush("rq:queue:emaki", "broken")
        assert pictures(end(client, submit(client, **SMALL)))
        with service.connection() as redis:
            eventually(lambda: not redis.lrange("rq:queue:emaki:intermediate", 0, -1), seconds=15)
        assert all(process.poll() is None for process in service.processes)


def test_a_hostile_job_that_names_a_function_runs_nothing(tmp_path: Path) -> None:
    from redis import Redis
    from rq import Queue
    from rq.serializers import JSONSerializer

    proof = tmp_path / "ran"
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        redis: Redis = service.connection()
        queue = Queue("emaki", connection=redis, serializer=JSONSerializer)
        queue.enqueue("os.system", f"touch {proof}", on_failure=None)
        Queue("emaki", connection=redis).enqueue("os.system", f"touch {proof}")  # a pickle
        assert pictures(end(client, submit(client, **SMALL)))
        eventually(lambda: redis.llen("rq:queue:emaki") == 0)
        redis.close()
        assert not proof.exists()
