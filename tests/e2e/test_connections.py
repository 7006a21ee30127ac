"""Connections that are held open for nothing are let go, whatever keeps them open."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import Service
from tests.support import eventually

PATIENCE = 1.0
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture(scope="module")
def hasty(service: Service) -> Iterator[tuple[int, int]]:
    """The port and process of an API that waits a second for what a client sends."""
    with service.another_api(EMAKI_REQUEST_TIMEOUT=str(PATIENCE)) as url:
        yield httpx.URL(url).port or 0, service.processes[-1].pid


@contextmanager
def connected(port: int, *, buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while chunk := connection.recv(65536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


def drip(port: int, first: bytes, drop: bytes) -> bytes:
    """Send something, then the drop ten times a second; what came back until the server closed."""
    with connected(port) as connection:
        connection.sendall(first)
        connection.settimeout(0.1)
        answer, deadline = b"", time.monotonic() + 20 * PATIENCE
        while time.monotonic() < deadline:
            try:
                connection.sendall(drop)
                chunk = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return answer
            if not chunk:
                return answer
            answer += chunk
    raise AssertionError(f"still open after {20 * PATIENCE} s of {drop!r}; came: {answer[:100]!r}")


def test_nothing_that_is_no_request_keeps_a_connection_open(hasty: tuple[int, int]) -> None:
    port, _ = hasty
    drips = {
        "blank lines at first": (b"", b"\r\n"),
        "blank lines after a request": (GET % b"/livez", b"\r\n"),
        "line feeds after a request": (GET % b"/livez", b"\n"),
        "a header after a request": (GET % b"/livez" + b"GET / HTTP/1.1\r\n", b"x: y\r\n"),
        "a name that does not end": (GET % b"/livez" + b"GET / HTTP/1.1\r\n", b"x"),
        "an address that does not end": (b"GET /", b"x"),
        "an extension of a chunk": (POST + b"1;", b"x"),
        "chunks": (POST, b"1\r\n \r\n"),
        "trailers": (POST + b"2\r\n{}\r\n0\r\n", b"x: y\r\n"),
    }
    with ThreadPoolExecutor(len(drips)) as pool:
        answers = list(pool.map(lambda parts: drip(port, *parts), drips.values()))
    for name, answer in zip(drips, answers, strict=True):
        begins = (b"HTTP/1.1 200", b"HTTP/1.1 202", b"HTTP/1.1 408")
        assert answer.startswith(begins), (name, answer[:200])


def test_an_answer_that_nobody_reads_does_not_keep_a_connection(hasty: tuple[int, int]) -> None:
    port, pid = hasty

    def sockets() -> int:
        found = Path(f"/proc/{pid}/fd").iterdir()
        return sum("socket:" in str(fd.readlink()) for fd in found if fd.is_symlink())

    httpx.get(f"http://127.0.0.1:{port}/openapi.json")
    time.sleep(0.1)
    before = sockets()
    with connected(port, buffer=4096) as many, connected(port, buffer=4096) as closing:
        many.sendall(GET % b"/openapi.json" * 100)
        closing.sendall(
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % b"/openapi.json"
        )
        eventually(lambda: sockets() >= before + 1, what="the connections")
        eventually(lambda: sockets() <= before, what="their end", seconds=20)


def test_one_that_reads_slowly_gets_everything(hasty: tuple[int, int]) -> None:
    port, _ = hasty
    whole = httpx.get(f"http://127.0.0.1:{port}/openapi.json").content
    with connected(port, buffer=4096) as connection:
        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % b"/openapi.json"
        connection.sendall(GET % b"/openapi.json" * 20 + last)
        time.sleep(2 * PATIENCE)
        answer = until_closed(connection)
    assert answer.count(whole) == 21


def test_crumbs_of_a_body_are_refused_before_they_cost(hasty: tuple[int, int]) -> None:
    """A byte a chunk costs a hundred times what it carries."""
    port, _ = hasty
    with connected(port) as connection:
        connection.sendall(POST + b"1\r\n \r\n" * 5001)
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"chunks of fewer than 64 bytes" in answer
    with connected(port) as connection:
        fine = b"41\r\n" + b" " * 65 + b"\r\n"
        connection.sendall(POST + fine * 5001 + b"2\r\n{}\r\n0\r\n\r\n" + GET % b"/livez")
        time.sleep(0.2)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 202 ")


def test_what_is_no_http_is_told_so(hasty: tuple[int, int]) -> None:
    port, _ = hasty
    with connected(port) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b"content-security-policy: default-src 'none'" in answer
