"""The engine's own thread: works come in, events go out, and nothing else is waited for.

The thread that owns the RQ worker talks to Redis meanwhile; the two share these queues and a few
counters.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.engine.engine import Engine, LastStep
from worker.engine.work import Drawing, Event, Work, WorkFailed

_SECONDS_TO_BE_HEARD = 0.1


@dataclass(frozen=True)
class _Cancel:
    id: str


@dataclass(frozen=True)
class Canceled:
    """A work was dropped on request."""

    id: str


def _nothing(_step: LastStep, _seconds: float) -> None:
    pass


class Runner:
    """Runs an engine for ever; `submit`, `cancel` and `events` may be called from elsewhere.

    Args:
        on_step: called in the engine's thread after each step, with how long it took in seconds.
    """

    def __init__(
        self, engine: Engine, *, on_step: Callable[[LastStep, float], None] = _nothing
    ) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Work | _Cancel] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Event | Canceled] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._lock = threading.Lock()
        self._demand = self._submitted = 0
        self._on_step = on_step
        self._drawn: frozenset[str] = frozenset()
        self._told: Drawing | None = None
        self._heard = threading.Event()

    def start(self) -> None:
        """Begin stepping as works arrive."""
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Hand a work over; it joins at the next step."""
        with self._lock:
            self._submitted += work.places
        self._inbox.put(work)

    def cancel(self, id_: str) -> None:
        """Drop a work before the next step; answered by `Canceled` unless it ended first."""
        self._inbox.put(_Cancel(id_))

    def events(self, *, wait: float = 0.0) -> list[Event | Canceled]:
        """Everything that happened since the last call; ``wait`` seconds at most for a first."""
        events: list[Event | Canceled] = []
        try:
            events.append(self._outbox.get(timeout=wait) if wait else self._outbox.get_nowait())
            while True:
                events.append(self._outbox.get_nowait())
        except queue.Empty:
            return events

    def heard(self, drawing: Drawing) -> None:
        """That these works are drawn is known elsewhere, should this process end."""
        if drawing is self._told:
            self._heard.set()

    def row_steps(self, id_: str) -> int:
        """Image-steps made so far for a work."""
        return self._engine.row_steps(id_)

    def evaluations(self, id_: str) -> int:
        """Network evaluations made so far for a work."""
        return self._engine.evaluations(id_)

    @property
    def free_places(self) -> int:
        """Places that no row wants yet; negative when rows wait."""
        with self._lock:
            return self._engine.capacity - self._demand - self._submitted

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._thread.is_alive()

    @property
    def steps(self) -> int:
        """Steps made since the start."""
        return self._engine.steps

    @property
    def pulse(self) -> int:
        """Rises while the engine is well: steps made, and those whose pictures came."""
        return self._engine.steps + self._engine.landed

    def _run(self) -> None:
        while True:
            self._admit()
            if self._engine.idle:
                continue
            began, before = time.monotonic(), self._engine.steps
            for event in self._engine.step(drawing=self._tell_drawing):
                self._outbox.put(event)
            with self._lock:
                self._demand = self._engine.demand
            if self._engine.steps != before:  # else it only waited for the device
                self._on_step(self._engine.last, time.monotonic() - began)

    def _tell_drawing(self, ids: tuple[str, ...]) -> None:
        """Before the step: should it end this process, they were in it."""
        if self._drawn == frozenset(ids):
            return
        self._drawn, self._told = frozenset(ids), Drawing(ids)
        self._heard.clear()
        self._outbox.put(self._told)
        if any(self._engine.row_steps(id_) == 0 for id_ in ids):
            # What kills this process most likely does so in its first step: that must be known.
            self._heard.wait(_SECONDS_TO_BE_HEARD)

    def _admit(self) -> None:
        """Take everything in; wait when there is nothing to step."""
        wait = self._engine.idle
        while True:
            try:
                message = self._inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if isinstance(message, _Cancel):
                if self._engine.cancel(message.id):
                    self._outbox.put(Canceled(message.id))
                wait = self._engine.idle
            else:
                try:
                    self._engine.add(message)
                except ValueError as error:
                    self._outbox.put(WorkFailed(message.id, error))
            with self._lock:
                self._demand = self._engine.demand
                if isinstance(message, Work):
                    self._submitted -= message.places
