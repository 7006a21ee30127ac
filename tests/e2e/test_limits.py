"""Limits answer before work starts, and hold across API processes."""

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service, running
from tests.support import eventually

BIG = 1024 * 1024


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    return answer.status_code, body["code"]


def test_two_processes_cannot_both_take_the_last_place(tmp_path: Path) -> None:
    """No worker runs, so everything stays queued."""
    limit = {"EMAKI_MAX_QUEUE": "30"}
    with (
        running(tmp_path, "worker", "app", **limit) as service,
        service.another_api(**limit) as other,
    ):
        worker = service.processes.pop(0)
        worker.terminate()
        worker.wait(timeout=20)
        clients = [httpx.Client(base_url=url, timeout=60) for url in (service.url, other)]

        def post(n: int) -> httpx.Response:
            return clients[n % 2].post("/v1/generations", json={"batch": 2})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(40)))
        accepted = [a.json() for a in answers if a.status_code == 202]
        refused = [a for a in answers if a.status_code != 202]
        assert len(accepted) == 15
        assert {problem(a) for a in refused} == {(429, "queue_full")}
        assert "30" in refused[0].json()["detail"]
        assert int(refused[0].headers["retry-after"]) >= 1
        with service.connection() as redis:
            assert redis.llen("rq:queue:emaki") == 15
            assert len(list(redis.scan_iter("rq:job:*"))) == 15
        # A place is free again when one is canceled or deleted, and only then.
        assert clients[0].post(accepted[0]["urls"]["cancel"]).status_code == 200
        assert clients[0].delete(accepted[1]["urls"]["self"]).status_code == 204
        again = [post(n).status_code for n in range(3)]
        assert again == [202, 202, 429]
        once = clients[0].post("/v1/generations", headers={"Idempotency-Key": "full"})
        assert once.status_code == 429
        service.start("worker")
        eventually(
            lambda: clients[0].get(accepted[2]["urls"]["self"]).json()["status"] == "succeeded"
        )
        key = {"Idempotency-Key": "full"}
        assert clients[0].post("/v1/generations", headers=key).status_code == 202
        eventually(lambda: metric(clients[0], "emaki_queue_pictures") == 0, what="an empty queue")
        for client in clients:
            client.close()


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_requests_are_limited_per_minute_and_key(service: Service) -> None:
    settings = {"EMAKI_RATE_LIMIT": "5", "EMAKI_API_KEYS": "slow,quick"}
    with service.another_api(**settings) as first, service.another_api(**settings) as second:
        slow = {"Authorization": "Bearer slow"}
        left = []
        for n in range(5):
            answer = httpx.get(f"{(first, second)[n % 2]}/v1/models", headers=slow)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"default";q=5;w=60'
            left.append(int(answer.headers["ratelimit-remaining"]))
        assert left == [4, 3, 2, 1, 0]
        refused = httpx.post(f"{first}/v1/generations", headers=slow, json={})
        assert problem(refused) == (429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"default";r=0;t=')
        quick = {"Authorization": "Bearer quick"}
        assert httpx.get(f"{first}/v1/models", headers=quick).status_code == 200
        assert httpx.get(f"{first}/v1/models").status_code == 401
        assert httpx.get(f"{first}/readyz").status_code == 200  # health is not limited


def test_a_request_counts_for_a_minute_from_when_it_was_made(service: Service) -> None:
    with (
        service.another_api(EMAKI_RATE_LIMIT="2", EMAKI_API_KEYS="moving") as url,
        service.connection() as redis,
    ):

        def ask() -> int:
            headers = {"Authorization": "Bearer moving"}
            return httpx.get(f"{url}/v1/models", headers=headers).status_code

        assert [ask() for _ in range(3)] == [200, 200, 429]
        owner = hashlib.sha256(b"moving").hexdigest()[:16]
        (window,) = redis.scan_iter(f"emaki:rate*{owner}*")
        redis.lset(window, -1, str(time.time() - 61))  # as if the first had been a minute ago
        assert [ask() for _ in range(2)] == [200, 429]


def test_without_a_rate_limit_there_are_no_such_headers(client: httpx.Client) -> None:
    assert not [h for h in client.get("/v1/models").headers if h.startswith("ratelimit")]


def test_a_large_body_is_refused_before_it_is_parsed(client: httpx.Client) -> None:
    def chunks() -> Any:
        for _ in range(3):
            yield b" " * (BIG // 2)

    for body in (b" " * (BIG + 1), chunks()):
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/generations", content=body, headers=headers)
        assert problem(answer) == (413, "content_too_large")
        assert str(BIG) in answer.json()["detail"]
    fits = b"{}" + b" " * (BIG - 2)
    answer = client.post("/v1/generations", content=fits, headers=headers)
    assert answer.status_code == 202


def raw(port: int, data: bytes) -> bytes:
    """Whatever comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(data)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
        return answer


def test_huge_headers_are_refused(service: Service, client: httpx.Client) -> None:
    endless = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 300_000
    assert raw(service.port, endless).startswith(b"HTTP/1.1 431 ")
    many = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        b"X-%d: y\r\n" % n for n in range(20_000)
    )
    assert raw(service.port, many).startswith(b"HTTP/1.1 431 ")
    assert client.get("/livez").status_code == 200


def test_slow_senders_are_let_go(service: Service) -> None:
    header = (
        b"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    )
    starts = {
        "header": header,
        "body": header + b"Content-Length: 100\r\n\r\n{",
        "chunked": header + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    }
    with service.another_api(EMAKI_REQUEST_TIMEOUT="1") as url, ThreadPoolExecutor(3) as pool:
        port = httpx.URL(url).port or 0
        answers = list(pool.map(lambda start: raw(port, start), starts.values()))
    for name, answer in zip(starts, answers, strict=True):
        assert answer.startswith(b"HTTP/1.1 408 "), (name, answer[:200])
        assert b"application/problem+json" in answer


def test_what_no_route_reads_is_bounded_too(service: Service) -> None:
    trailers = b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(1000))
    chunked = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    unfinished = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{"
    with service.another_api(EMAKI_REQUEST_TIMEOUT="1") as url, ThreadPoolExecutor(2) as pool:
        port = httpx.URL(url).port or 0
        # `raw` returns when the server hangs up; it would run into its own timeout else.
        answers = list(pool.map(lambda start: raw(port, start), [chunked + trailers, unfinished]))
    assert answers[0] == b"" or answers[0].startswith(b"HTTP/1.1 200 ")  # as soon as it is cut
    assert answers[1].startswith(b"HTTP/1.1 200 ")


def test_openai_s_streams_count_as_streams(service: Service) -> None:
    with (
        service.another_api(EMAKI_MAX_STREAMS="1") as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        asked = {"prompt": "circle", "stream": True, "steps": 1000, "n": 32}
        with client.stream("POST", "/v1/images/generations", json=asked) as one:
            assert one.status_code == 200
            second = httpx.post(f"{url}/v1/images/generations", json=asked, timeout=30)
            assert second.status_code == 429
            assert second.json()["error"]["code"] == "too_many_streams"
            with httpx.Client(base_url=url, timeout=30) as other:
                assert metric(other, "emaki_sse_streams") == 1
        eventually(lambda: metric(client, "emaki_sse_streams") == 0, what="a closed stream")


def test_a_key_is_wanted_before_a_body_is_read(service: Service) -> None:
    with service.another_api(EMAKI_API_KEYS="a") as url:
        for body in (b"{", b" " * (BIG + 1)):
            answer = httpx.post(f"{url}/v1/generations", content=body)
            assert problem(answer) == (401, "unauthorized")


def test_streams_are_limited_per_key(service: Service) -> None:
    settings = {"EMAKI_MAX_STREAMS": "2", "EMAKI_API_KEYS": "a,b"}
    with service.another_api(**settings) as url:
        a = httpx.Client(base_url=url, headers={"Authorization": "Bearer a"}, timeout=30)
        long = {"steps": 1000, "batch": 48}
        with a, a.stream("POST", "/v1/generations", json=long) as posted:
            body = next(iter([posted.read()]))
        generation = httpx.Response(202, content=body).json()
        events = generation["urls"]["events"]
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer a"}, timeout=30) as a:
            with a.stream("GET", events) as one, a.stream("GET", events) as two:
                assert (one.status_code, two.status_code) == (200, 200)
                third = a.get(events)
                assert problem(third) == (429, "too_many_streams")
                assert metric(a, "emaki_sse_streams") == 2
                assert a.get(generation["urls"]["self"]).status_code == 200
            eventually(lambda: metric(a, "emaki_sse_streams") == 0, what="closed streams")
            with a.stream("GET", events) as again:
                assert again.status_code == 200
            a.delete(generation["urls"]["self"])


def test_other_sites_are_kept_out_unless_named(service: Service, client: httpx.Client) -> None:
    origin = {"Origin": "https://example.org"}
    preflight = origin | {"Access-Control-Request-Method": "POST"}
    assert problem(client.get("/v1/models", headers=origin)) == (421, "foreign_origin")
    assert problem(client.options("/v1/generations", headers=preflight)) == (421, "foreign_origin")
    with service.another_api(EMAKI_CORS_ORIGINS="https://example.org") as url:
        answer = httpx.options(f"{url}/v1/generations", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        elsewhere = preflight | {"Origin": "https://example.com"}
        refused = httpx.options(f"{url}/v1/generations", headers=elsewhere)
        assert "access-control-allow-origin" not in refused.headers
    origins = {"EMAKI_CORS_ORIGINS": "https://example.org", "EMAKI_RATE_LIMIT": "1"}
    with service.another_api(**origins) as url:
        answers = [httpx.options(f"{url}/v1/models", headers=preflight) for _ in range(3)]
        answers += [httpx.get(f"{url}/v1/models", headers=origin) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert "Retry-After" in answers[-1].headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"class":' * 50_000,
        b'{"seed": ' + b"9" * 900_000 + b"}",
        b'{"guidance_scale": NaN}',
        b'{"guidance_scale": Infinity}',
        b'{"eta": -Infinity}',
        b'{"guidance_scale": 1e999}',
        b'{"class": "\\ud800"}',
        b'{"model": "\\udfff"}',
        b'{"\\ud800": 1}',
        b"\xff\xfe{}",
        b'{"class": ["' + b"x" * 900_000 + b'"]}',
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_hostile_bodies_are_client_errors_and_cost_no_memory(
    service: Service, client: httpx.Client, body: bytes
) -> None:
    api = next(p for p in service.processes if p.args[-1] == "app")
    headers = {"content-type": "application/json"}

    def post() -> httpx.Response:
        return client.post("/v1/generations", content=body, headers=headers)

    post()
    before = resident(api.pid)
    for _ in range(5):
        answer = post()
        assert 400 <= answer.status_code < 500, answer.text[:300]
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) < 4000
    assert resident(api.pid) - before < 32 * BIG


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
