"""What every answer tells a browser: to load nothing from elsewhere, and to guess nothing.

Most answers are data, so nothing in them may load or run at all. The page's own files may come from
this server, and from nowhere else: no script of others runs beside an API key that it keeps.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "content-security-policy": _NOTHING,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Secure:
    """Adds those headers, where a route has not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, told)
