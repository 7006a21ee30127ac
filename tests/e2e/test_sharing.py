"""Nothing one caller does reaches another, and nobody waits for what will not come."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.service import Service, running
from tests.support import eventually, write_checkpoint
from wire import keys
from wire.life.queueing import OVERCOMMIT

KEYS = {"EMAKI_API_KEYS": "greedy,modest"}


def as_(service: Service, key: str) -> httpx.Client:
    return service.client(headers={"Authorization": f"Bearer {key}"})


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/generations", json=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(client: httpx.Client, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/v1/generations/{id_}").json()
    return body


def ended(client: httpx.Client, id_: str) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        body = look(client, id_)
        return body if body["finished_at"] else None

    return eventually(finished, seconds=60, what=f"the end of {id_}")


def stop_worker(service: Service) -> None:
    worker = service.processes.pop(0)
    worker.terminate()
    worker.wait(timeout=20)


def test_one_key_that_fills_the_queue_keeps_no_other_out(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app", EMAKI_MAX_QUEUE="10", **KEYS) as service:
        stop_worker(service)
        with as_(service, "greedy") as greedy, as_(service, "modest") as modest:
            submit(greedy, batch=10)
            refused = greedy.post("/v1/generations", json={})
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            submit(modest, batch=4)
            assert modest.post("/v1/generations", json={}).status_code == 429


def test_one_key_that_fills_redis_is_told_which_limit_and_keeps_no_other_out(
    tmp_path: Path,
) -> None:
    settings = {**KEYS, "EMAKI_MAX_STORED": "60000"}
    with running(tmp_path, "worker", "app", **settings) as service:  # noqa: SIM117 - too long
        with as_(service, "greedy") as greedy, as_(service, "modest") as modest:
            kept = [submit(greedy, batch=8, steps=1, scale=2) for _ in range(2)]
            for id_ in kept:
                assert ended(greedy, id_)["status"] == "succeeded"
            refused = greedy.post("/v1/generations", json={"batch": 64, "scale": 16, "strip": 9})
            assert (refused.status_code, refused.json()["code"]) == (429, "storage_full")
            assert "EMAKI_MAX_STORED is 60000" in refused.json()["detail"]
            assert refused.headers["retry-after"]
            submit(modest, batch=8, steps=1)
            with service.connection() as redis:
                (before,) = (
                    int(redis.hget(key, "total") or 0)
                    for key in redis.scan_iter("emaki:stored:*")
                    if redis.hexists(key, kept[0])
                )
            assert before > 0
            for id_ in kept:
                assert greedy.delete(f"/v1/generations/{id_}").status_code == 204
            with service.connection() as redis:
                assert not any(
                    redis.hexists(key, id_)
                    for key in redis.scan_iter("emaki:stored:*")
                    for id_ in kept
                )


def test_a_model_that_no_live_worker_has_is_no_longer_offered(tmp_path: Path) -> None:
    """And what waits for it fails; while no worker lives at all, everything is still accepted."""
    write_checkpoint(tmp_path / "others", "other")
    with running(tmp_path, "worker", "app", EMAKI_MODEL_TTL="3", EMAKI_WORKER_TTL="3") as service:
        other = service.start("worker", EMAKI_CHECKPOINTS=str(tmp_path / "others"))
        with service.client() as client:
            eventually(lambda: client.get("/v1/models/other").status_code == 200)
            other.kill()
            other.wait()
            service.processes.remove(other)
            waiting = submit(client, model="other")
            assert client.get("/v1/models/other").status_code == 200, "not for some seconds"
            failed = ended(client, waiting)
            assert (failed["status"], failed["error"]["code"]) == ("failed", "model_unavailable")
            assert "EMAKI_MODEL_TTL" in failed["error"]["detail"]
            gone = client.post("/v1/generations", json={"model": "other"})
            assert (gone.status_code, gone.json()["code"]) == (404, "model_not_found")
            assert "other" not in [card["id"] for card in client.get("/v1/models").json()["data"]]

            stop_worker(service)
            eventually(lambda: client.get("/readyz").status_code == 503, what="no worker lives")
            time.sleep(4)
            assert client.get("/v1/models/tiny").status_code == 200
            late = submit(client)
            service.start("worker")
            assert ended(client, late)["status"] == "succeeded"


def test_what_waits_too_long_fails_and_says_why(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app", EMAKI_QUEUE_TTL="2") as service:
        stop_worker(service)
        with service.client() as client:
            failed = ended(client, submit(client, batch=3))
            assert (failed["status"], failed["error"]["code"]) == ("failed", "queue_timeout")
            assert "EMAKI_QUEUE_TTL" in failed["error"]["detail"]
            with service.connection() as redis:
                assert redis.llen(keys.QUEUE_LIST) == 0
                assert not redis.exists(keys.QUEUED)


def test_during_a_hot_swap_each_request_goes_to_a_worker_that_has_its_version(
    tmp_path: Path,
) -> None:
    """Two hosts, two folders: one has the new version already, and has pruned the first."""
    for step in (2, 3):
        write_checkpoint(tmp_path / "ahead", "tiny", step=step)
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        service.start("worker", EMAKI_CHECKPOINTS=str(tmp_path / "ahead"))
        eventually(lambda: client.get("/readyz").json().get("workers") == 2)
        card = eventually(
            lambda: (
                card
                if len((card := client.get("/v1/models/tiny").json())["versions"]) == 3
                else None
            )
        )
        assert card["versions"] == [f"tiny@000000{step}" for step in (1, 2, 3)]
        assert card["version"] == "tiny@0000002", "the one that most workers can draw"
        wanted = [None, "tiny@1", "tiny@2", "tiny@3"] * 10
        ids = [submit(client, **({"model": name} if name else {})) for name in wanted]
        for id_, name in zip(ids, wanted, strict=True):
            body = ended(client, id_)
            assert body["status"] == "succeeded", body["error"]
            assert body["model"].endswith((name or "tiny@2")[-1])


def test_a_small_request_does_not_wait_for_four_large_ones_of_its_key(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        large = [submit(client, batch=64, steps=1000) for _ in range(4)]
        eventually(lambda: look(client, large[0])["status"] == "running")
        small = ended(client, submit(client, steps=2))
        assert small["status"] == "succeeded"
        for id_ in large:
            assert look(client, id_)["progress"]["images_done"] < 64
            client.delete(f"/v1/generations/{id_}")


def test_after_a_kill_only_what_was_in_the_last_step_is_isolated(tmp_path: Path) -> None:
    settings = {"EMAKI_PRECISION": "exact", "EMAKI_WORKER_TTL": "3"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        ids = [submit(client, steps=80, seed=seed) for seed in range(30)]
        eventually(lambda: look(client, ids[-1])["status"] == "running")
        worker = service.processes.pop(0)
        worker.kill()
        worker.wait()
        service.start("worker", **settings)
        for id_ in ids:
            assert ended(client, id_)["status"] == "succeeded"
        with service.connection() as redis:
            suspected = [redis.hexists(keys.generation(id_), "suspected") for id_ in ids]
        assert 0 < sum(suspected) <= 16, "places of a batch"


def test_priority_orders_a_key_s_own_requests(service: Service) -> None:
    """While nothing can begin their places and estimates tell it; then how they are drawn does."""
    headers = {"Authorization": "Bearer ranks"}
    with (
        service.another_api(EMAKI_API_KEYS="ranks") as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):

        def ranked(**batches: int) -> list[str]:
            """As they are asked for; given back the highest first."""
            ids = {
                name: submit(client, steps=12, guidance_scale=1, batch=batch, priority=name)
                for name, batch in batches.items()
            }
            return [ids[name] for name in ("high", "normal", "low")]

        others = [submit(client, steps=1000, batch=16) for _ in range(OVERCOMMIT + 2)]
        eventually(lambda: look(client, others[-1])["progress"]["eta_seconds"])
        worker = service.processes[0]
        worker.send_signal(signal.SIGSTOP)
        try:
            alike = ranked(normal=16, low=16, high=16)
            progress = [look(client, id_)["progress"] for id_ in alike]
            for name in ("queue_position", "eta_seconds"):
                values = [each[name] for each in progress]
                assert values == sorted(set(values))
            # By equal shares the one that wants most would be the last.
            wanted = ranked(normal=32, low=16, high=64)
            for id_ in others + alike:
                client.delete(f"/v1/generations/{id_}").raise_for_status()
        finally:
            worker.send_signal(signal.SIGCONT)
        drawn = [ended(client, id_) for id_ in wanted]
        assert [body["status"] for body in drawn] == ["succeeded"] * 3
        for name in ("started_at", "finished_at"):
            moments = [body[name] for body in drawn]
            assert moments == sorted(moments)
