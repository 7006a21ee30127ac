"""Sends the page's files and the API's description gzipped to those who take that.

What is under `/v1` stays as it is. Its pictures are packed already, its streams must not wait in a
buffer, and an answer that repeats what was sent beside what is secret tells of that by its size
(BREACH, Gluck, Harris and Prado 2013).
"""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_LEAST_BYTES = 1000  # less fits into one packet anyway
_LEVEL = 6


class Packed:
    """Starlette's gzip for everything but the API's answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packed = GZipMiddleware(app, minimum_size=_LEAST_BYTES, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_the_api = scope["type"] != "http" or scope["path"].startswith("/v1/")
        await (self._app if of_the_api else self._packed)(scope, receive, send)
