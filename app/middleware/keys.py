"""Who asks, by its API key: looked at once, before anything of the body is read."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth import identify
from app.exceptions import Unauthorized
from app.problems import refuse
from app.settings import AppSettings


class KeyFirst:
    """Answers 401 to whoever asks for something under `/v1` without a key that is known."""

    def __init__(self, app: ASGIApp, *, settings: AppSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            try:
                header = Headers(scope=scope).get("authorization")
                scope["state"]["owner"] = identify(self._settings, header)
            except Unauthorized as error:
                await refuse(scope["path"], error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
