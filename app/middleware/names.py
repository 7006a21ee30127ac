"""Requests by a foreign name end here: 421 for a `Host` or an `Origin` that is not ours.

Health checks and Prometheus find a process by its address, so the three routes for them answer to
any: a page that was led here by a name of its own cannot send an address.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.exceptions import ForeignHost, ForeignOrigin, ServiceError
from app.hosts import Names, hostname, is_address
from app.problems import refuse

_PROBED = frozenset({"/livez", "/readyz", "/metrics"})


class OwnNames:
    """Lets requests pass that call the server by its name, from pages that may ask."""

    def __init__(self, app: ASGIApp, *, names: Names) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._objection(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope["path"], error)(scope, receive, send)

    def _objection(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("host"), headers.get("origin")
        host = hosts[0] if len(hosts) == 1 else ""
        probe = scope["path"] in _PROBED and (not hosts or is_address(hostname(host)))
        if not probe and not self._names.is_ours(host):
            return ForeignHost(host)
        if origin is not None and not self._names.may_ask(origin, host):
            return ForeignOrigin(origin)
        return None
