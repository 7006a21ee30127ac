"""Clients that submit as fast as there is room, to whichever API process answers.

A request is promised once its 202 has arrived. Half of the clients send an Idempotency-Key and ask
again until they have that 202, so each of theirs must become exactly one generation whatever died
in between. The others ask once: what is not answered may or may not be in.
"""

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.trace import Trace, Wanted

KEYS = ("first", "second", "third")  # one per caller; a caller has several clients
_PATIENCE = 10.0


@dataclass
class Promises:
    """What the service has taken on, and what it has refused."""

    webhook: str  # is to be told of each
    accepted: dict[str, Wanted] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0  # asked once, and the connection broke
    asked_again: int = 0  # the connection broke, and the Idempotency-Key was sent again
    refused: int = 0  # 503 while Redis was away: nothing was promised
    room: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client(threading.Thread):
    """One connection, kept open; another API process is tried when one does not answer."""

    def __init__(self, number: int, ports: Sequence[int], trace: Trace, promises: Promises) -> None:
        super().__init__(name=f"client {number}")
        self._number, self._ports = number, ports
        self._trace, self._promises = trace, promises
        self._chance = random.Random(number)
        self._key = KEYS[number % len(KEYS)]
        self._connection: http.client.HTTPConnection | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        promises, count = self._promises, 0
        try:
            while not promises.over.is_set():
                if promises.room.wait(timeout=0.1):
                    count += 1
                    once = f"{self._number}-{count}" if self._number % 2 else None
                    self._ask(self._trace.next(self._chance), once)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._close()

    def _ask(self, wanted: Wanted, once: str | None) -> None:
        while True:
            try:
                status, headers, body = self._post(wanted, once)
            except (OSError, http.client.HTTPException):
                self._elsewhere()
                with self._promises.lock:
                    self._promises.asked_again += once is not None
                    self._promises.unanswered += once is None
            else:
                if status == 202:
                    id_ = json.loads(body)["id"]
                    with self._promises.lock:
                        self._promises.accepted[id_] = wanted
                        self._promises.owners[id_] = self._key
                    return
                assert status == 503, (status, body)
                assert headers["retry-after"]
                with self._promises.lock:
                    self._promises.refused += 1
                time.sleep(self._chance.uniform(0.05, 0.3))
            if once is None:
                return

    def _post(self, wanted: Wanted, once: str | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        if self._connection is None:
            port = self._chance.choice(self._ports)
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if once is not None:
            headers["Idempotency-Key"] = once
        body = json.dumps({**wanted.fields(), "webhook": {"url": self._promises.webhook}})
        self._connection.request("POST", "/v1/generations", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def _elsewhere(self) -> None:
        self._close()
        time.sleep(self._chance.uniform(0.02, 0.1))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
