"""The containers as a team runs them: built, started, used, broken and mended on a real engine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from tests.compose.stack import ROOT, Stack
from tests.support import eventually
from tests.training.data import CONFIG, write_idx

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]
OURS = ("api", "worker", "webhooks")
LONG = {"class": "Sneaker", "steps": 60, "batch": 2, "seed": 3}


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/generations", json=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(client: httpx.Client, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/v1/generations/{id_}").json()
    return body


def pictures(client: httpx.Client, id_: str) -> list[str]:
    """Digests of a generation's pictures, when it has ended."""

    def end() -> dict[str, Any] | None:
        body = look(client, id_)
        return body if body.get("finished_at") else None

    body = eventually(end, seconds=300, what=f"the end of {id_}")
    assert body["status"] == "succeeded", body["error"]
    return [image["sha256"] for image in body["images"]]


def under_way(client: httpx.Client, id_: str) -> None:
    eventually(lambda: look(client, id_)["progress"]["step"] > 2, what="the first steps")


def test_a_fresh_clone_serves_the_shipped_model(stack: Stack) -> None:
    with stack.client() as client:
        asked = {"class": "Sneaker", "seed": 1}
        headers = {"Prefer": "wait=60", "Accept": "image/png"}
        answer = client.post("/v1/generations", json=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b"\x89PNG")
        served = {card["id"] for card in client.get("/v1/models").json()["data"]}
        assert served == {folder.name for folder in (ROOT / "checkpoints").iterdir()}


def test_nobody_draws_without_the_key(stack: Stack) -> None:
    answer = httpx.post(f"http://127.0.0.1:{stack.port}/v1/generations")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("name", ["EMAKI_API_KEYS", "EMAKI_REDIS_PASSWORD"])
def test_a_missing_secret_is_named_and_nothing_starts(stack: Stack, name: str) -> None:
    answer = stack.try_compose("config", without=name)
    assert answer.returncode != 0
    assert f"{name} is missing" in answer.stderr
    assert "openssl rand -hex 32" in answer.stderr


@pytest.mark.parametrize(
    ("image", "setting", "words"),
    [
        ("emaki-api", "EMAKI_REDIS_URL=", "EMAKI_REDIS_URL: is missing; set it to redis://"),
        ("emaki-worker", "EMAKI_REDIS_URL=", "EMAKI_REDIS_URL: is missing; set it to redis://"),
        ("emaki-api", "EMAKI_HOST=0.0.0.0", "EMAKI_API_KEYS is empty; set EMAKI_API_KEYS"),
        ("emaki-api", "EMAKI_API_KEYS=sha256:1", "EMAKI_API_KEYS: a hashed key is"),
        ("emaki-worker", "EMAKI_PRECISION=best", "EMAKI_PRECISION='best'"),
        ("emaki-worker", "EMAKI_DEVICE=cuda", "EMAKI_DEVICE=cuda: this machine"),
    ],
)
def test_a_bad_setting_stops_the_container_with_one_line(
    stack: Stack, image: str, setting: str, words: str
) -> None:
    answer = stack.docker(
        "run", "--rm", "-e", "EMAKI_REDIS_URL=redis://redis:6379/0", "-e", setting, image
    )
    assert answer.returncode == 2
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_containers_have_no_more_rights_than_they_need(stack: Stack) -> None:
    for service in (*OURS, "redis"):
        facts = stack.inspect(stack.containers(service)[0])
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["Memory"] > 0, service
        assert host["NanoCpus"] > 0, service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        if service in OURS:
            assert facts["Config"]["User"] == "10001:10001"
        published = [p for ports in facts["NetworkSettings"]["Ports"].values() for p in ports or []]
        addresses = {port["HostIp"] for port in published}
        assert addresses == ({"127.0.0.1"} if service == "api" else set()), service


def test_the_api_image_has_no_torch(stack: Stack) -> None:
    answer = stack.docker("run", "--rm", "emaki-api", "python", "-c", "import torch")
    assert "No module named 'torch'" in answer.stderr


def test_health_checks_pass(stack: Stack) -> None:
    for service in ("api", "worker", "redis"):
        for container in stack.containers(service):
            eventually(
                lambda: stack.inspect(container)["State"]["Health"]["Status"] == "healthy",  # noqa: B023
                seconds=60,
                what=f"{service} healthy",
            )


def test_a_killed_worker_container_loses_nothing(stack: Stack) -> None:
    with stack.client() as client:
        expected = pictures(client, submit(client, **LONG))
        ids = [submit(client, **LONG) for _ in range(4)]
        under_way(client, ids[0])
        victim = stack.containers("worker")[0]
        assert stack.docker("kill", victim).returncode == 0
        for id_ in ids:
            assert pictures(client, id_) == expected
    stack.compose("up", "-d", "--scale", "worker=2")
    stack.wait_until_ready(workers=2)


_RECEIVER = """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Hooks(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(json.dumps([dict(self.headers), body]), flush=True)
        self.send_response(204)
        self.end_headers()

HTTPServer(("", 8080), Hooks).serve_forever()
"""


@pytest.fixture
def receiver(stack: Stack) -> Iterator[str]:
    """A container beside the stack that logs each message; its name, which is its host's, too."""
    name = stack.receiver
    where = ("--name", name, "--network", f"{stack.project}_outside")
    started = stack.docker("run", "-d", *where, "emaki-api", "python", "-c", _RECEIVER)
    assert started.returncode == 0, started.stderr
    yield name
    stack.docker("rm", "-f", name)


def test_a_killed_webhooks_container_tells_all_the_same(stack: Stack, receiver: str) -> None:
    webhook = {"url": f"http://{receiver}:8080/"}
    with stack.client() as client:
        assert stack.docker("kill", *stack.containers("webhooks")).returncode == 0
        ids = [submit(client, **LONG | {"steps": 5, "webhook": webhook}) for _ in range(3)]
        for id_ in ids:
            pictures(client, id_)
    assert stack.docker("logs", receiver).stdout == ""
    stack.compose("up", "-d", "--scale", "worker=2")

    def told() -> set[str]:
        lines = [json.loads(line) for line in stack.docker("logs", receiver).stdout.splitlines()]
        sent = [Verifier(stack.secret).verify(body, headers) for headers, body in lines]
        return {message["data"]["id"] for message in sent}

    eventually(lambda: told() == set(ids), what="a message of each")


def test_redis_restarted_in_mid_run_loses_nothing(stack: Stack) -> None:
    with stack.client() as client:
        expected = pictures(client, submit(client, **LONG))
        ids = [submit(client, **LONG) for _ in range(4)]
        under_way(client, ids[0])
        stack.compose("restart", "redis")
        stack.wait_until_ready(workers=2)
        for id_ in ids:
            assert pictures(client, id_) == expected


def test_a_model_that_the_train_profile_makes_is_served(stack: Stack, tmp_path: Path) -> None:
    data = write_idx(tmp_path / "data")
    data.chmod(0o755)
    config = tmp_path / "shapes.toml"
    config.write_text(CONFIG)
    config.chmod(0o644)
    mounts = ["-v", f"{data}:/data:ro", "-v", f"{config}:/shapes.toml:ro"]
    command = ["train", "train", "/shapes.toml", "--data", "/data", "--name", "mine"]
    said = stack.compose("run", "--rm", *mounts, *command)
    assert "steps 0 to 12 on cpu" in said
    with stack.client() as client:
        eventually(
            lambda: client.get("/v1/models/mine").json().get("version") == "mine@0000012",
            seconds=30,
            what="the last checkpoint being served",
        )
        id_ = submit(client, model="mine", **{"class": "Cross"})
        assert len(pictures(client, id_)) == 1


def test_a_read_only_checkpoints_volume_is_named_and_nothing_is_trained(
    stack: Stack,
) -> None:
    volume = f"{stack.project}_checkpoints:/emaki/checkpoints:ro"
    train = ["train", "configs/fashion-mnist.toml", "--data", "/data"]
    for command in (["publish", "mine", "8"], train):
        answer = stack.docker("run", "--rm", "-v", volume, "emaki-train", *command)
        assert answer.returncode == 2
        assert len(answer.stderr.strip().splitlines()) == 1
        assert "Read-only file system" in answer.stderr


def test_a_stopped_worker_drains_and_the_rest_waits(stack: Stack) -> None:
    with stack.client() as client:
        expected = pictures(client, submit(client, **LONG))
        ids = [submit(client, **LONG) for _ in range(2)]
        under_way(client, ids[0])
        workers = stack.containers("worker")
        stack.compose("stop", "worker")
        assert {stack.inspect(worker)["State"]["ExitCode"] for worker in workers} == {0}
        waiting = submit(client, **LONG)
        assert look(client, waiting)["status"] == "queued"
        stack.compose("up", "-d", "--scale", "worker=2")
        for id_ in (*ids, waiting):
            assert pictures(client, id_) == expected


def test_secrets_are_in_no_log(stack: Stack) -> None:
    logs = stack.compose("logs", "--no-color")
    assert "serving fashion-mnist" in logs
    assert stack.key not in logs
    assert stack.password not in logs
    assert stack.secret.removeprefix("whsec_") not in logs
