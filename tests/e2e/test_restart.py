"""Streams and waiting requests when a process or Redis goes away and comes back."""

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.service import Service, running
from tests.e2e.test_events import read
from tests.support import eventually

LONG = {"steps": 600, "batch": 2, "class": "Circle", "seed": 5}


def api(service: Service) -> Any:
    return next(p for p in service.processes if p.args[-1] == "app")


def restart_api(service: Service) -> None:
    service.processes.remove(api(service))
    service.start("app")
    service.wait_until_ready()


def test_streams_end_at_a_graceful_stop_and_go_on_without_loss(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        body = client.post("/v1/generations", json=LONG | {"preview_every": 40}).json()
        events: list[tuple[str, str, Any]] = []

        def follow() -> None:
            events.extend(read(client, body["urls"]["events"]))

        streams = [threading.Thread(target=follow)]
        streams += [
            threading.Thread(target=read, args=(client, body["urls"]["events"])) for _ in range(20)
        ]
        for stream in streams:
            stream.start()
        eventually(lambda: client.get(body["urls"]["self"]).json()["progress"]["step"] > 5)
        stopping = time.monotonic()
        api(service).send_signal(signal.SIGTERM)
        assert api(service).wait(timeout=20) == 0
        for stream in streams:
            stream.join(timeout=5)
            assert not stream.is_alive()
        assert time.monotonic() - stopping < 15
        assert "Traceback" not in service.log("app")
        assert events
        assert events[-1][1] != "done"
        restart_api(service)
        rest = read(client, body["urls"]["events"], after=events[-1][0])
        assert rest[-1][1] == "done"
        whole = read(client, body["urls"]["events"])
        assert events[1:] + rest == whole[1:]
        assert whole[-1][2] == client.get(body["urls"]["self"]).json()


def test_a_waiting_request_is_answered_at_a_graceful_stop(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        answers: list[httpx.Response] = []

        def wait() -> None:
            answers.append(client.post("/v1/generations", json=LONG, headers={"Prefer": "wait=60"}))

        waiting = threading.Thread(target=wait)
        waiting.start()
        with service.connection() as redis:
            eventually(lambda: list(redis.scan_iter("emaki:gen:*")), what="the record")
        api(service).send_signal(signal.SIGTERM)
        waiting.join(timeout=15)
        assert api(service).wait(timeout=20) == 0
        assert answers[0].status_code == 202
        restart_api(service)
        url = answers[0].json()["urls"]["self"]
        eventually(lambda: client.get(url).json()["status"] == "succeeded", seconds=60)


def test_a_stream_outlives_a_redis_restart(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "app") as service, service.client() as client:
        body = client.post("/v1/generations", json=LONG).json()
        events: list[tuple[str, str, Any]] = []

        def follow() -> None:
            events.extend(read(client, body["urls"]["events"]))

        stream = threading.Thread(target=follow)
        stream.start()
        eventually(lambda: client.get(body["urls"]["self"]).json()["progress"]["step"] > 5)
        service.redis.stop()
        time.sleep(1)
        service.redis.start()
        stream.join(timeout=60)
        assert not stream.is_alive()
        assert events[-1][1] == "done"
        assert events[-1][2]["status"] == "succeeded"
        assert read(client, body["urls"]["events"])[1:] == events[1:]


def test_logs_tie_a_request_together_across_processes(tmp_path: Path) -> None:
    settings = {"EMAKI_LOG_FORMAT": "json"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        headers = {"X-Request-ID": "order-17", "Prefer": "wait=60"}
        answer = client.post("/v1/generations", json={"steps": 2}, headers=headers)
        assert answer.headers["x-request-id"] == "order-17"
        forged = client.get("/livez", headers={"X-Request-ID": 'a" b'})
        assert len(forged.headers["x-request-id"]) == 32

        def line(name: str, message: str) -> dict[str, Any] | None:
            lines = [json.loads(line) for line in service.log(name).splitlines()]
            return next((line for line in lines if line["message"] == message), None)

        for name, message in (("app", "POST /v1/generations"), ("worker", "generation succeeded")):
            found = eventually(lambda n=name, m=message: line(n, m), what=message)  # type: ignore[misc]
            assert found["request_id"] == "order-17"
            assert found["generation_id"] == answer.json()["id"]
            assert found["level"] == "info"
            assert found["process"] == {"app": "api", "worker": "worker"}[name]
