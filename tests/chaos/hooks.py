"""A webhook that is told of every request, remembers by which message, and whether it was true."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SETTINGS = {
    "EMAKI_WEBHOOK_SECRET": "whsec_" + "A" * 44,
    "EMAKI_WEBHOOK_HOSTS": "127.0.0.1",
    "EMAKI_WEBHOOK_TIMEOUT": "2",
}


class Hook:
    """Takes messages until it is closed.

    Args:
        ended: whether what is told of a generation can be read; None: nobody can say now.
    """

    def __init__(self, ended: Callable[[str], bool | None]) -> None:
        self.told: Counter[str] = Counter()
        self.seen = 0  # messages whose generation was looked at
        self.early: list[str] = []  # told before it could be read
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                id_ = message["data"]["id"]
                found = ended(id_)
                with outer._lock:
                    outer.seen += found is not None
                    if found is False:
                        outer.early.append(id_)
                    outer.told[self.headers["webhook-id"]] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def untold(self, ids: Iterable[str]) -> list[str]:
        """Of which generations it has not been told."""
        with self._lock:
            return [id_ for id_ in ids if f"{id_}.done" not in self.told]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
