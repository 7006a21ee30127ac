"""Each request gets an id, is timed and counted, and leaves a line in the log."""

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry import Telemetry
from wire.logs import fields

log = logging.getLogger("emaki.http")
HEADER = "x-request-id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observe:
    """Reads `X-Request-ID` or makes one, and returns it with the answer."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", None) or "none"
        self._telemetry.answered(method=method, route=route, status=status, seconds=seconds)
        # Polls are many and alike: they are for DEBUG.
        level = logging.DEBUG if method == "GET" and status < 400 else logging.INFO
        if log.isEnabledFor(level):
            state: dict[str, Any] = scope["state"]
            parameters: dict[str, Any] = scope.get("path_params") or {}
            extra = fields(
                request_id=state["request_id"],
                generation_id=state.get("generation_id") or parameters.get("id"),
                status=status,
                ms=round(seconds * 1000, 1),
            )
            log.log(level, "%s %s", method, ascii(scope["path"][:200])[1:-1], extra=extra)
