"""Sends the page's files, the API's description and the models' cards gzipped to who takes that.

What else is under `/v1` stays as it is. Its pictures are packed already, its streams must not wait
in a buffer, and an answer that repeats what was sent beside what is secret tells of that by its
size (BREACH, Gluck, Harris and Prado 2013). The list of cards repeats nothing and holds no secret.
"""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_LEAST_BYTES = 1000  # less fits into one packet anyway
_LEVEL = 6
_CARDS = "/v1/models"


class Packed:
    """Starlette's gzip for everything but the API's other answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packed = GZipMiddleware(app, minimum_size=_LEAST_BYTES, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else "/v1/"
        as_it_is = path.startswith("/v1/") and path != _CARDS
        await (self._app if as_it_is else self._packed)(scope, receive, send)
