"""A way to a server on which an answer gets lost: the connection breaks once it has acted."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class LossyWay:
    """A TCP proxy; `lose_answer_to` breaks the next connection that sends those bytes."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{parts.scheme}://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        self.lost = 0
        self._words: bytes | None = None
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer_to(self, words: bytes) -> None:
        self._words = words

    def cut(self) -> None:
        """Break every connection that is open; new ones can be made."""
        self._close(*self._ends)
        self._ends.clear()

    def close(self) -> None:
        self._close(self._listener, *self._ends)

    @staticmethod
    def _close(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._ends += (client, server)
                doomed = threading.Event()
                for source, sink in ((client, server), (server, client)):
                    arguments = (source, sink, doomed, source is client)
                    threading.Thread(target=self._carry, args=arguments, daemon=True).start()

    def _carry(
        self, source: socket.socket, sink: socket.socket, doomed: threading.Event, asks: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and self._words is not None and self._words in data:
                    self._words = None
                    doomed.set()
                elif not asks and doomed.is_set():
                    self.lost += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def lossy_way(url: str) -> Iterator[LossyWay]:
    way = LossyWay(url)
    try:
        yield way
    finally:
        way.close()
