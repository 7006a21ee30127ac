"""Bodies are bounded before anything parses them, chunked ones too.

In size, in time and, where they are JSON, in what they hold (`app.structure`).
"""

import asyncio
import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import respond
from app.structure import TooComplex, check

_TOO_LARGE = "the body is larger than {limit} bytes, the most that is read; send less"
_TOO_SLOW = "the body did not arrive within {limit:g} s; send it faster"


class BoundedBody:
    """Answers 413 to a body of more than ``most_bytes``, 408 to one that takes too long.

    JSON of too many values, or nested too deep, is 422. ``larger`` are other limits, by path.
    """

    def __init__(
        self, app: ASGIApp, *, most_bytes: int, larger: Mapping[str, int], seconds: float
    ) -> None:
        self._app, self._most, self._seconds = app, most_bytes, seconds
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self._larger.get(scope["path"], self._most)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            detail = _TOO_LARGE.format(limit=most)
            answer = respond(scope["path"], 413, "content_too_large", detail)
            await answer(scope, receive, send)
            return
        # FastAPI parses what says that it is JSON, and nothing else.
        json = "json" in headers.get("content-type", "").lower()
        await self._app(scope, self._bounded(receive, most, json=json), send)

    def _bounded(self, receive: Receive, most: int, *, json: bool) -> Receive:
        received, complete, deadline = 0, False, 0.0
        parts: list[bytes] = []

        async def bounded() -> Message:
            nonlocal received, complete, deadline
            if complete:
                return await receive()  # only a disconnect can come
            deadline = deadline or time.monotonic() + self._seconds
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                detail = _TOO_SLOW.format(limit=self._seconds)
                raise HTTPException(408, detail, {"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            part: bytes = message.get("body", b"")
            received += len(part)
            if received > most:
                raise HTTPException(413, _TOO_LARGE.format(limit=most))
            if json:
                parts.append(part)
                if complete:
                    _look_into(b"".join(parts))
            return message

        return bounded


def _look_into(text: bytes) -> None:
    try:
        check(text)
    except TooComplex as error:
        raise HTTPException(422, str(error)) from error
