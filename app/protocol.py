"""uvicorn's HTTP protocol with bounds on what no route sees: how large, how slow, in what crumbs.

uvicorn's httptools parser keeps header and trailer lines as they come, without a limit, waits for
ever for the rest of a body that no route reads, and for a client that does not read its answer.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.middleware.secure import HEADERS

_MOST_BYTES = 64 * 1024
_MOST_PIECES = 5000  # of a body; then they must hold more than this on average:
_LEAST_BYTES = 64
_SECONDS_TO_ANSWER = 2.0
_UNREAD = 3  # times the patience with a sender: so long may an answer lie unread
_SECURE = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode()
_ANSWER = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n%s\r\n%s"
)
_PROBLEM = '{"type":"about:blank","title":"%s","status":%d,"code":"%s","detail":"%s","errors":[]}'


class BoundedHttp(HttpToolsProtocol):
    """Answers 431 to headers that are too large, 408 to ones that take too long.

    Trailers count as headers. A body that has not come when `app.middleware.body` would have
    answered 408 ends the connection, and so does an answer of which nothing more is read.
    """

    seconds = 20.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._in_headers = True
        self._trailer_bytes = 0
        self._pieces, self._body_bytes = 0, 0
        self._patience: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    @classmethod
    def within(cls, seconds: float) -> type["BoundedHttp"]:
        """The same with another patience."""
        return type(cls.__name__, (cls,), {"seconds": seconds})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._stop_watching_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
            if self._patience is None and (self.cycle is None or self.cycle.response_complete):
                self._expect_header()  # blank lines begin no message, and end uvicorn's patience
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
        self._pieces, self._body_bytes = 0, 0
        self._expect_header()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:
            super().on_header(name, value)
        else:  # a trailer, which nobody reads
            self._trailer_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        self._expect_nothing()
        self._patience = self.loop.call_later(self.seconds + _SECONDS_TO_ANSWER, self._cut)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        self._pieces, self._body_bytes = self._pieces + 1, self._body_bytes + len(body)
        if self._pieces > _MOST_PIECES and self._body_bytes < self._pieces * _LEAST_BYTES:
            limit = (
                f"the body came in more than {_MOST_PIECES} chunks of fewer than {_LEAST_BYTES} "
                "bytes on average; send it in larger ones"
            )
            self._refuse(400, "Bad Request", "bad_request", limit)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # once all is read
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        self._cut()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching_reader()

    def send_400_response(self, _msg: str) -> None:
        detail = "what came is not HTTP/1.1; send a request as an HTTP client writes it"
        self._refuse(400, "Bad Request", "bad_request", detail)

    def _unsupported_upgrade_warning(self) -> None:
        """There is nothing to upgrade to: the request is answered as it is, without a line."""

    def _expect_header(self) -> None:
        self._expect_nothing()
        self._patience = self.loop.call_later(self.seconds, self._too_slow)

    def _expect_nothing(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None

    def _too_slow(self) -> None:
        detail = f"the request's header did not arrive within {self.seconds:g} s; send it faster"
        self._refuse(408, "Request Timeout", "request_timeout", detail)

    def _watch_reader(self) -> None:
        self._stop_watching_reader()
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.seconds * _UNREAD, self._look_at_reader, unread)

    def _stop_watching_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = None

    def _look_at_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() < unread:
            self._watch_reader()
        else:
            self.transport.abort()

    def _cut(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            self._watch_reader()

    def _refuse(self, status: int, title: str, code: str, detail: str) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not (answering and self.cycle.response_started):  # else it would pass for a part of that
            body = (_PROBLEM % (title, status, code, detail)).encode()
            self.transport.write(_ANSWER % (status, title.encode(), len(body), _SECURE, body))
        self._cut()
