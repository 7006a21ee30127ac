"""Webhooks through real processes and a real receiver: order, kills, deaf ones, dead messages."""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from app.webhooks.fields import MOST_WAITING
from tests.e2e.forking import Process
from tests.e2e.service import Service, running
from tests.support import eventually
from wire import keys

SECRET = "whsec_" + "A" * 44
SETTINGS = {
    "EMAKI_WEBHOOK_SECRET": SECRET,
    "EMAKI_WEBHOOK_HOSTS": "127.0.0.1",
    "EMAKI_WEBHOOK_TIMEOUT": "1",
    "EMAKI_WEBHOOK_SECONDS": "1",  # given up at the first failure
}
QUICK = {"steps": 3, "class": "Circle"}


@dataclass
class Receiver:
    """Answers by path, and keeps what it was sent: (path, headers, body)."""

    service_url: str
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    readable: list[bool] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.got.append((self.path, headers, body))
                if self.path == "/read":
                    outer.look(json.loads(body))
                if self.path == "/held":
                    time.sleep(0.6)
                status = 500 if self.path in outer.failing else 302 if self.path == "/away" else 204
                self.send_response(status)
                self.send_header("location", "/stolen")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def look(self, message: Any) -> None:
        """Whether what is told can be read already."""
        data = message["data"]
        found = httpx.get(f"{self.service_url}/v1/generations/{data['id']}").json()
        if message["type"] == "generation.done":
            self.readable.append(found == data)
        elif message["type"] == "generation.image":
            self.readable.append(data["image"] in found["images"])

    def messages(self, path: str) -> list[Any]:
        return [json.loads(body) for where, _, body in self.got if where == path]

    def ids(self, path: str) -> list[str]:
        return [headers["webhook-id"] for where, headers, _ in self.got if where == path]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("webhooks")
    with running(folder, "worker", "app", "app.webhooks", **SETTINGS) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture
def receiver(service: Service) -> Iterator[Receiver]:
    made = Receiver(service.url)
    yield made
    made.server.shutdown()
    made.server.server_close()


def asked(client: httpx.Client, url: str, **changes: Any) -> Any:
    body = {**QUICK, "webhook": {"url": url, **changes}}
    answer = client.post("/v1/generations", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def process(service: Service, module: str) -> Process:
    return next(p for p in service.processes if p.args[-1] == module)


def killed(service: Service, module: str) -> None:
    found = process(service, module)
    found.send_signal(signal.SIGKILL)
    found.wait()
    service.processes.remove(found)


def test_all_is_told_in_order_signed_and_readable(client: httpx.Client, receiver: Receiver) -> None:
    events = ["done", "image", "started"]
    body = {**QUICK, "batch": 3, "webhook": {"url": receiver.url("/read"), "events": events}}
    made = client.post("/v1/generations", json=body).json()
    assert made["request"]["webhook"] == body["webhook"]
    eventually(lambda: len(receiver.messages("/read")) == 5)
    names = [id_.removeprefix(f"{made['id']}.") for id_ in receiver.ids("/read")]
    assert (names[0], names[-1]) == ("started", "done")
    assert sorted(names[1:-1]) == ["image.0", "image.1", "image.2"]
    eventually(lambda: receiver.readable == [True] * 4)
    for _, headers, sent in receiver.got:
        assert Verifier(SECRET).verify(sent, headers)
    assert receiver.messages("/read")[-1]["data"]["status"] == "succeeded"


def test_a_secret_of_one_s_own_signs_and_is_shown_nowhere(
    client: httpx.Client, receiver: Receiver
) -> None:
    own = "whsec_" + "Ow" * 16
    made = asked(client, receiver.url("/own"), secret=own)
    eventually(lambda: receiver.messages("/own"))
    _, headers, sent = receiver.got[-1]
    assert Verifier(own).verify(sent, headers)
    assert own.encode() not in sent
    assert own not in client.get(made["urls"]["self"]).text


def test_kills_of_api_and_deliverer_lose_no_message(
    service: Service, client: httpx.Client, receiver: Receiver
) -> None:
    ids = [asked(client, receiver.url("/held"))["id"] for _ in range(6)]
    killed(service, "app")
    eventually(lambda: receiver.ids("/held"))  # one is on its way, and is not said to be told
    killed(service, "app.webhooks")
    service.start("app.webhooks", **SETTINGS)
    service.start("app", **SETTINGS)
    eventually(lambda: len(set(receiver.ids("/held"))) == 6)
    assert set(receiver.ids("/held")) == {f"{id_}.done" for id_ in ids}
    with service.connection() as redis:
        eventually(lambda: not redis.keys("emaki:due:*"), what="an empty queue")
    service.wait_until_ready()


def test_a_deaf_receiver_keeps_up_only_itself(client: httpx.Client, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        for _ in range(20):
            asked(client, f"http://127.0.0.1:{port}/")
        made = asked(client, receiver.url("/quick"))
        eventually(lambda: client.get(made["urls"]["self"]).json()["status"] == "succeeded")
        eventually(lambda: receiver.ids("/quick"), seconds=1.0)


def test_redirects_are_not_followed_and_what_fails_is_shown_and_sent_again(
    client: httpx.Client, receiver: Receiver
) -> None:
    receiver.failing.add("/later")
    away, later = (asked(client, receiver.url(path)) for path in ("/away", "/later"))

    def dead() -> dict[str, Any]:
        found = client.get("/v1/webhooks/dead?limit=100").json()["data"]
        return {one["generation"]: one for one in found}

    eventually(lambda: {away["id"], later["id"]} <= dead().keys())
    assert dead()[away["id"]]["error"] == "status 302"
    assert receiver.messages("/stolen") == []
    letter = dead()[later["id"]]
    assert (letter["error"], letter["event"], letter["tries"]) == ("status 500", "done", 1)
    receiver.failing.clear()
    assert client.post(f"/v1/webhooks/dead/{letter['id']}/resend").status_code == 204
    eventually(lambda: len(receiver.ids("/later")) == 2)
    assert receiver.ids("/later") == [letter["id"]] * 2
    assert later["id"] not in dead()
    again = client.post(f"/v1/webhooks/dead/{letter['id']}/resend")
    assert (again.status_code, again.json()["code"]) == (404, "message_not_found")


def test_a_name_that_leads_inside_is_refused_by_the_process_that_tells(
    client: httpx.Client,
) -> None:
    made = asked(client, f"https://{socket.gethostname()}:9/")

    def why() -> str:
        found = client.get("/v1/webhooks/dead?limit=100").json()["data"]
        return "".join(one["error"] for one in found if one["generation"] == made["id"])

    eventually(why)
    assert "which is not public" in why() or "cannot be resolved" in why()


def test_a_webhook_that_cannot_be_told_is_a_clear_no(client: httpx.Client) -> None:
    body = {"webhook": {"url": "https://me:s3cret@192.168.0.1/"}}
    answer = client.post("/v1/generations", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "webhook")
    assert "s3cret" not in answer.text
    for wrong in (
        {"url": "https://a.example/", "events": ["tea"]},
        {"url": 5},
        "https://a.example/",
    ):
        assert client.post("/v1/generations", json={"webhook": wrong}).status_code == 422


def test_a_receiver_for_which_too_many_wait_is_named(
    service: Service, client: httpx.Client
) -> None:
    body = {**QUICK, "webhook": {"url": "http://127.0.0.1:9/"}}
    waiting = {f"other {number}": time.time() + 3600 for number in range(MOST_WAITING)}
    with service.connection() as redis:
        redis.zadd(keys.due("http://127.0.0.1:9"), waiting)
        answer = client.post("/v1/generations", json=body)
        redis.delete(keys.due("http://127.0.0.1:9"))
    assert (answer.status_code, answer.json()["code"]) == (429, "webhook_backlog")
    assert "http://127.0.0.1:9" in answer.json()["detail"]
    assert client.post("/v1/generations", json=QUICK).status_code == 202


def test_messages_are_counted(client: httpx.Client, receiver: Receiver) -> None:
    receiver.failing.add("/never")
    for path in ("/quick", "/never"):
        asked(client, receiver.url(path))

    def counts() -> dict[str, float]:
        text = client.get("/metrics").text
        found = re.findall(r'^emaki_webhooks_total{outcome="(\w+)"} (\S+)$', text, re.MULTILINE)
        return {outcome: float(count) for outcome, count in found}

    eventually(lambda: counts()["delivered"] > 0 and counts()["dead"] > 0)
    assert counts().keys() == {"put", "delivered", "later", "dead"}
    assert counts()["put"] >= 2
    assert counts()["later"] == 0, "each is given up at its first failure"
