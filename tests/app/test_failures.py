"""An exception that nobody expected: a problem with an id that the log has, too."""

import asyncio
import logging

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message, Receive, Scope, Send

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


@pytest.mark.parametrize(("says", "failure"), [("the handler is closed", False), ("a bug", True)])
def test_a_client_that_leaves_while_it_is_answered_is_no_failure(
    caplog: pytest.LogCaptureFixture, says: str, *, failure: bool
) -> None:
    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def written(message: object) -> None:
        raise RuntimeError(f"unable to perform operation on <TCPTransport closed=True>; {says}")

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": "/", "state": {"request_id": "abc"}}
    asked = UnexpectedFailures(answering)(scope, nothing, written)
    with caplog.at_level(logging.ERROR):
        if failure:
            with pytest.raises(RuntimeError, match="a bug"):
                asyncio.run(asked)
        else:
            asyncio.run(asked)
    assert bool(caplog.records) == failure
