"""What nobody expected becomes a 500 that says so, inside what every answer passes through."""

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.connect import CLOSED
from app.problems import respond
from wire.logs import fields

log = logging.getLogger("emaki.app")
_DETAIL = "the server failed; its log says why; try again"


class UnexpectedFailures:
    """Answers and logs an exception that no handler took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            try:
                await send(message)
            except RuntimeError as error:
                if CLOSED not in str(error):
                    raise
                raise ClientDisconnect from error

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.debug("the client left before it had the answer")
        except Exception as error:
            if scope["type"] != "http":
                raise
            extra = fields(request_id=scope["state"]["request_id"])
            log.error("unexpected error", exc_info=error, extra=extra)
            if begun:
                raise  # the connection is cut: what came so far must not pass for the whole
            answer = respond(scope["path"], 500, "internal_error", _DETAIL)
            await answer(scope, receive, send)
