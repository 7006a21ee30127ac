"""Models, health, keys, the description, the page; and a service whose parts are missing."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.checkpoint import WEIGHTS, publish
from serve.embedded import EmbeddedRedis
from tests.e2e.service import Service, running
from tests.support import eventually, free_port, write_checkpoint
from wire import keys


def test_models_are_listed_and_described(client: httpx.Client) -> None:
    listing = client.get("/v1/models").json()
    assert listing["object"] == "list"
    ids = [card["id"] for card in listing["data"]]
    assert ids[0] == "tiny"  # the default is first
    assert ids[1:] == sorted(ids[1:])
    assert "plain" in ids
    card = client.get("/v1/models/tiny").json()
    assert card == listing["data"][0]
    assert card["object"] == "model"
    assert card["owned_by"] == "emaki"
    assert card["classes"] == ["Circle", "Square", "Ankle boot"]
    assert card["versions"] == ["tiny@0000001", "tiny@0000002"]
    assert card["defaults"] == {
        "sampler": "dpmpp_2m",
        "steps": 5,
        "guidance_scale": 1.5,
        "guidance_interval": [0.0, 1.0],
    }


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    offered = [card["id"] for card in client.get("/v1/models").json()["data"]]
    assert {"plain", "tiny"} <= set(offered)
    assert ready == {"status": "ready", "workers": 1, "models": sorted(offered)}


def test_metrics_count_what_the_api_and_workers_did(client: httpx.Client) -> None:
    def counted(name: str) -> float:
        return value(client.get("/metrics").text, f"emaki_{name}")

    names = (
        'generations_total{status="succeeded"}',
        "steps_total",
        "image_steps_total",
        'batch_places_total{kind="used"}',
        'batch_places_total{kind="padded"}',
        "step_seconds_count",
        "first_step_seconds_count",
        "image_seconds_count",
    )
    fields = {"batch": 3, "steps": 7, "class": "Circle", "guidance_scale": 1}

    def draw_one() -> None:
        drawn = counted("image_seconds_count")
        client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
        eventually(lambda: counted("image_seconds_count") > drawn)

    def left(status: str) -> bool:
        listing = client.get("/v1/generations", params={"status": status}).json()
        return bool(listing["data"])

    # What other tests left behind would be counted with it.
    eventually(lambda: not left("queued") and not left("running"), seconds=60)
    draw_one()  # what was drawn before it is counted now
    before = {name: counted(name) for name in names}
    draw_one()
    grown = {name: counted(name) - before[name] for name in names}
    assert grown["image_steps_total"] == grown['batch_places_total{kind="used"}'] == 21
    assert grown["steps_total"] == grown["step_seconds_count"] >= 7
    assert grown['generations_total{status="succeeded"}'] == 1
    assert grown["first_step_seconds_count"] == grown["image_seconds_count"] == 1
    assert counted("step_seconds_sum") > 0
    assert counted("workers") == 1
    route = 'http_requests_total{method="POST",route="/v1/generations",status="200"}'
    assert counted(route) >= 1
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_metrics_count_the_webhooks_messages_that_wait_and_that_are_due(
    service: Service, client: httpx.Client
) -> None:
    def counted() -> tuple[float, float]:
        text = client.get("/metrics").text
        return value(text, "emaki_webhooks_waiting"), value(text, "emaki_webhooks_due")

    waiting, due = counted()
    hook = {"url": "https://receiver.example/", "events": ["done"]}
    with service.another_api(EMAKI_WEBHOOK_SECRET="whsec_" + "A" * 44) as url:
        answer = httpx.post(
            f"{url}/v1/generations", json={"webhook": hook}, headers={"Prefer": "wait=30"}
        )
        assert answer.json()["status"] == "succeeded"
        assert counted() == (waiting + 1, due + 1)
        with service.connection() as redis:
            receivers = [name.decode() for name in redis.smembers(keys.RECEIVERS)]
            (receiver,) = [name for name in receivers if "receiver.example" in name]
            redis.zadd(keys.due(receiver), {answer.json()["id"]: time.time() + 60})
            assert counted() == (waiting + 1, due), "its next try is in a minute"
            redis.delete(keys.due(receiver))


def value(text: str, name: str) -> float:
    """A metric's value in Prometheus' text."""
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(lines[name])


def test_the_description_covers_the_routes_and_their_errors(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/v1/generations",
        "/v1/generations/{id}",
        "/v1/generations/{id}/cancel",
        "/v1/generations/{id}/events",
        "/v1/generations/{id}/images/{index}.png",
        "/v1/generations/{id}/grid.png",
        "/v1/generations/{id}/images.zip",
        "/v1/generations/{id}/strip.png",
        "/v1/images/generations",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/generations/{id}/init.png",
        "/v1/generations/{id}/mask.png",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/uploads",
        "/v1/uploads/{id}",
        "/v1/webhooks/dead",
        "/v1/webhooks/dead/{id}/resend",
        "/livez",
        "/readyz",
        "/metrics",
    }
    submit = schema["paths"]["/v1/generations"]["post"]["responses"]
    assert set(submit) >= {"200", "202", "404", "422"}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert submit["422"]["content"] == problem
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert client.get("/docs").status_code == 200


def test_the_page_and_its_parts_are_served(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for part in ("/static/page.js", "/static/style.css"):
        assert part in page.text
        assert client.get(part).status_code == 200


def test_the_api_process_never_loads_torch(service: Service, client: httpx.Client) -> None:
    client.post("/v1/generations", json={}, headers={"Prefer": "wait=60", "Accept": "image/png"})
    api = next(p for p in service.processes if p.args[-1] == "app")
    maps = Path(f"/proc/{api.pid}/maps").read_text()
    assert "libpython" in maps or "site-packages" in maps
    assert "torch" not in maps
    code = "import sys, app.__main__; print('torch' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]


def test_requests_wait_for_a_worker_and_readyz_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        worker = service.processes[0]
        worker.terminate()
        assert worker.wait(timeout=20) == 0
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        queued = [client.post("/v1/generations", json={"seed": i}).json() for i in range(3)]
        places = [
            client.get(g["urls"]["self"]).json()["progress"]["queue_position"] for g in queued
        ]
        assert places == [1, 2, 3]
        canceled = client.post(queued[0]["urls"]["cancel"])
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        service.processes.remove(worker)
        service.start("worker")
        for generation in queued[1:]:
            eventually(
                lambda g=generation: client.get(g["urls"]["self"]).json()["status"] == "succeeded",  # type: ignore[misc]
                what="the queued request's end",
            )


def test_a_worker_without_a_model_waits_and_says_why(tmp_path: Path) -> None:
    with running(tmp_path, "app") as service, service.client() as client:
        eventually(lambda: answers(client, "/livez"))
        good = (service.checkpoints / "tiny" / "0000002" / WEIGHTS).read_bytes()
        (service.checkpoints / "tiny" / "0000002" / WEIGHTS).write_bytes(good[:50])
        worker = service.start("worker")
        eventually(lambda: "it is truncated" in service.log("worker"))
        time.sleep(2.5)
        assert worker.poll() is None
        assert service.log("worker").count("it is truncated") == 1
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/generations", json={}).json()["code"] == "model_not_found"
        (service.checkpoints / "tiny" / "0000002" / WEIGHTS).write_bytes(good)
        service.wait_until_ready()


def finished(client: httpx.Client, url: str) -> dict[str, Any] | None:
    body: dict[str, Any] = client.get(url).json()
    return body if body["finished_at"] else None


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_a_new_checkpoint_is_served_and_a_bad_one_is_not(tmp_path: Path) -> None:
    exact = {"EMAKI_PRECISION": "exact"}
    with running(tmp_path, "worker", "app", **exact) as service, service.client() as client:
        headers = {"Prefer": "wait=60"}
        fields = {"seed": 4, "steps": 300, "batch": 3}
        before = client.post("/v1/generations", json=fields, headers=headers).json()
        running_ = client.post("/v1/generations", json=fields).json()
        write_checkpoint(service.checkpoints, "tiny", step=3)
        eventually(lambda: client.post("/v1/generations").json()["model"] == "tiny@0000003")
        after = client.post("/v1/generations", json=fields, headers=headers).json()
        end = eventually(lambda: finished(client, running_["urls"]["self"]))
        assert end["model"] == "tiny@0000002"
        assert [i["sha256"] for i in end["images"]] == [i["sha256"] for i in before["images"]]
        assert [i["sha256"] for i in after["images"]] != [i["sha256"] for i in before["images"]]
        publish(service.checkpoints, "tiny", 2)
        eventually(lambda: client.post("/v1/generations").json()["model"] == "tiny@0000002")
        bad = write_checkpoint(service.checkpoints, "tiny", step=4)
        (bad / WEIGHTS).write_bytes(b"nothing")
        eventually(lambda: "still serving tiny@" in service.log("worker"), what="the log line")
        # Once or twice: it may have been looked at before its weights were nothing.
        refused = re.compile(r"^emaki_checkpoints_refused_total [12]\.0$", re.MULTILINE)
        eventually(lambda: refused.search(client.get("/metrics").text), what="the count")
        older = client.post("/v1/generations", json={"model": "tiny@1"}, headers=headers).json()
        assert (older["status"], older["model"]) == ("succeeded", "tiny@0000001")


def test_a_killed_workers_requests_end_elsewhere(tmp_path: Path) -> None:
    settings = {"EMAKI_WORKER_TTL": "3", "EMAKI_PRECISION": "exact"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        fields = {"seed": 3, "steps": 300, "batch": 3, "class": "Square"}
        expected = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"}).json()
        killed = client.post("/v1/generations", json=fields).json()
        eventually(lambda: client.get(killed["urls"]["self"]).json()["progress"]["step"] > 5)
        first = service.processes.pop(0)
        first.send_signal(signal.SIGKILL)
        first.wait()
        service.start("worker", **settings)
        end = eventually(lambda: finished(client, killed["urls"]["self"]), seconds=60)
        assert end["status"] == "succeeded"
        assert [i["sha256"] for i in end["images"]] == [i["sha256"] for i in expected["images"]]


def test_keys_are_asked_for_and_keep_generations_apart(tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"second").hexdigest()
    keys = f"first, sha256:{hashed}"
    with running(tmp_path, "worker", "app", EMAKI_API_KEYS=keys) as service:
        with service.client() as stranger:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
                answer = stranger.post("/v1/generations", json={}, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
            assert stranger.get("/v1/models").status_code == 401
            assert stranger.get("/readyz").status_code == 200
            assert stranger.get("/").status_code == 200
        first = service.client(headers={"Authorization": "Bearer first"})
        second = service.client(headers={"Authorization": "Bearer second"})
        with first, second:
            mine = first.post("/v1/generations", json={}, headers={"Prefer": "wait=60"}).json()
            assert first.get(mine["urls"]["self"]).status_code == 200
            for path in ("self", "events", "grid"):
                assert second.get(mine["urls"][path]).status_code == 404
            assert second.post(mine["urls"]["cancel"]).status_code == 404
        assert "first" not in service.log("app") + service.log("worker")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"EMAKI_HOST": "0.0.0.0"}, "lets others in, but EMAKI_API_KEYS is empty"),
        ({"EMAKI_PORT": "high"}, "EMAKI_PORT"),
        ({"EMAKI_API_KEYS": "sha256:abc"}, "64 lower-case hex digits"),
        ({"EMAKI_MAX_WORK": "0"}, "EMAKI_MAX_WORK"),
        ({"EMAKI_DEFAULT_MODEL": "Tiny@x"}, "EMAKI_DEFAULT_MODEL"),
        ({"EMAKI_REDIS_URL": "localhost:6379"}, "EMAKI_REDIS_URL"),
    ],
)
def test_bad_settings_of_the_api_are_one_line(settings: dict[str, str], message: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "app"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(service: Service) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "app"],
        env={**os.environ, "EMAKI_PORT": str(service.port), "EMAKI_REDIS_URL": service.redis.url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 2
    assert "Address already in use); set EMAKI_PORT to a free port" in answer.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"EMAKI_PRECISION": "half"},
        {"EMAKI_THREADS": "0"},
        {"EMAKI_DEVICE": "tpu"},
        {"EMAKI_DEVICE": "cuda:99"},
        {"EMAKI_REDIS_URL": "localhost:6379"},
    ],
)
def test_bad_settings_of_the_worker_are_one_line(settings: dict[str, str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "worker"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: {next(iter(settings))}")
    assert answer.stderr.count("\n") == 1


def test_redis_away_at_start_is_a_line_and_a_retry(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "data")  # not started yet
    write_checkpoint(tmp_path / "checkpoints", "tiny")
    service = Service(tmp_path, redis, port=free_port())
    try:
        service.start("worker")
        service.start("app")
        with service.client() as client:
            eventually(lambda: "Redis" in service.log("worker"), what="the worker's line")
            eventually(lambda: answers(client, "/livez"))
            answer = client.post("/v1/generations", json={})
            assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
            assert answer.headers["retry-after"]
            assert client.get("/readyz").status_code == 503
            eventually(lambda: "Redis is away" in service.log("app"), what="the API's line")
            redis.start()
            service.wait_until_ready()
            drawn = client.post("/v1/generations", json={}, headers={"Prefer": "wait=60"})
            assert drawn.json()["status"] == "succeeded"
        assert "Traceback" not in service.log("worker") + service.log("app")
    finally:
        service.stop()
