"""uvicorn's HTTP protocol with bounds on what no route sees: how large, and how slow.

uvicorn's httptools parser keeps header and trailer lines as they come, without a limit, and waits
for ever for the rest of a body that no route reads.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_BYTES = 64 * 1024
_SECONDS_TO_ANSWER = 2.0
_ANSWER = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
_PROBLEM = '{"type":"about:blank","title":"%s","status":%d,"code":"%s","detail":"%s","errors":[]}'


class BoundedHeaders(HttpToolsProtocol):
    """Answers 431 to headers that are too large, 408 to ones that take too long.

    Trailers count as headers. A body that has not come when `app.middleware.body` would have
    answered 408 ends the connection.
    """

    seconds = 20.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._in_headers = True
        self._trailer_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._hurry(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hurry(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        # Looked at after parsing: in what came at once, a body may follow short headers.
        if self._in_headers and self._header_bytes > _MOST_BYTES:
            limit = f"the request's header is larger than {_MOST_BYTES} bytes; send less"
            self._refuse(431, "Request Header Fields Too Large", "header_too_large", limit)
        elif self._trailer_bytes > _MOST_BYTES:
            self._cut()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._trailer_bytes = True, 0
        self._hurry(True)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:
            super().on_header(name, value)
        else:  # a trailer, which nobody reads
            self._trailer_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        self._hurry(False)
        self._patience = self.loop.call_later(self.seconds + _SECONDS_TO_ANSWER, self._cut)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._hurry(False)
        super().on_message_complete()

    @classmethod
    def within(cls, seconds: float) -> type["BoundedHeaders"]:
        """The same with another patience."""
        return type(cls.__name__, (cls,), {"seconds": seconds})

    def _hurry(self, hurry: bool) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(self.seconds, self._too_slow) if hurry else None

    def _too_slow(self) -> None:
        detail = f"the request's header did not arrive within {self.seconds:g} s; send it faster"
        self._refuse(408, "Request Timeout", "request_timeout", detail)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _refuse(self, status: int, title: str, code: str, detail: str) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        body = (_PROBLEM % (title, status, code, detail)).encode()
        self.transport.write(_ANSWER % (status, title.encode(), len(body), body))
        self.transport.close()
