"""An exception that nobody expected: a problem with an id that the log has, too."""

import asyncio
import logging

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from app.middleware.failures import UnexpectedFailures
from app.middleware.observe import Observe
from app.telemetry import Telemetry


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a bug")


def test_an_unexpected_failure_is_answered_with_its_id_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = CORSMiddleware(UnexpectedFailures(broken), allow_origins=["https://example.org"])
    transport = httpx.ASGITransport(Observe(app, telemetry=Telemetry()))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(
                "/v1/models", headers={"X-Request-ID": "abc", "Origin": "https://example.org"}
            )

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.exc_info is not None
    assert "abc" in str(line.__dict__)
    assert "a bug" not in answer.text
