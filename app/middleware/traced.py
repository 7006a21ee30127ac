"""A span for each request, which goes on from the caller's `traceparent`; only where one traces."""

from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wire.traces import Traces, Value


class Traced:
    """What happens within a request finds its `traceparent` in the state."""

    def __init__(self, app: ASGIApp, *, traces: Traces) -> None:
        self._app, self._traces = app, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, status = Headers(scope=scope).get("traceparent", ""), 500
        span = self._traces.begin(scope["method"], parent=given, server=True)
        scope.setdefault("state", {})["traceparent"] = span.parent

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            state: dict[str, Any] = scope["state"]
            facts: dict[str, Value] = {
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
            }
            if "generation_id" in state:
                facts["emaki.generation.id"] = state["generation_id"]
            span.end(facts, name=f"{scope['method']} {route}")
