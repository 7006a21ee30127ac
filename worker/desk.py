"""Between the queue and the engine: a record becomes a work, the engine's events become results.

Runs in the thread that talks to Redis. Knows the ledger, the catalog and the runner; not RQ.
"""

import logging
import time
from collections import deque
from enum import Enum, auto

from models.sampler import build_table
from wire.record import Record
from wire.schemas import ErrorInfo, Status
from worker.catalog import Catalog
from worker.ledger import Ledger
from worker.render import plain_png, png, strip_png
from worker.runner import Canceled, Runner
from worker.work import Event, ImageDone, Pixels, Preview, Started, Work, WorkDone

log = logging.getLogger("emaki.worker")
_STALLED_SECONDS = 10.0
_STALLED_STEPS = 20
_MOST_PREVIEWS = 256  # of one generation
_MAX_STRIKES = 5


class Accepted(Enum):
    """What became of a job that was taken from the queue."""

    HELD = auto()
    OVER = auto()  # nothing (more) to do
    NOT_OURS = auto()  # another worker's model


class Desk:
    """One per worker process; outlives connections to Redis."""

    def __init__(self, ledger: Ledger, catalog: Catalog, runner: Runner) -> None:
        self._ledger, self._catalog, self._runner = ledger, catalog, runner
        self._events: deque[Event | Canceled] = deque()
        self._frames: dict[str, dict[int, tuple[Pixels, ...]]] = {}
        self._loners: deque[Work] = deque()
        self._alone: str | None = None
        self._steps_seen, self._steps_seen_at = -1, time.monotonic()

    @property
    def room(self) -> int:
        """Places in the engine that no row wants yet; zero or less: rows wait."""
        return self._runner.free_places

    @property
    def owners(self) -> dict[str, int]:
        """How many generations in hand each owner has."""
        return self._ledger.owners

    def accept(self, id_: str) -> Accepted:
        """Open a generation and hand it to the engine."""
        record = self._ledger.open(id_)
        if record is None:
            return Accepted.OVER
        if record.strikes >= _MAX_STRIKES:
            detail = (
                f"the worker died {record.strikes} times while drawing this alone; ask for fewer "
                "images or steps, and tell whoever runs the server"
            )
            self._ledger.finish(id_, Status.FAILED, ErrorInfo(code="worker_died", detail=detail))
            return Accepted.OVER
        if record.request.model.partition("@")[0] not in self._catalog.names:
            self._ledger.drop(id_)
            return Accepted.NOT_OURS
        work = self._work(record)
        if isinstance(work, ErrorInfo):
            log.error("generation %s: %s", id_, work.detail)
            self._ledger.finish(id_, Status.FAILED, work)
            return Accepted.OVER
        if work.alone:
            self._loners.append(work)
            self._next_loner()
        else:
            self._runner.submit(work)
        return Accepted.HELD

    def drop(self, id_: str) -> None:
        """Stop working on a generation without ending it."""
        self._runner.cancel(id_)
        self._ledger.drop(id_)
        self._let_go(id_)

    def drop_all(self) -> None:
        """Let go of everything, after the connection to the queue broke down."""
        for id_ in self._ledger.open_ids:
            self.drop(id_)

    def holds(self, id_: str) -> bool:
        """Whether a generation has not ended yet."""
        return self._ledger.holds(id_)

    def serve(self, *, wait: float) -> None:
        """Pass on what happened, waiting at most ``wait`` seconds for something to happen.

        An event stays until Redis has taken it: a lost connection loses none.
        """
        self._events.extend(self._runner.events(wait=wait))
        while self._events:
            event = self._events[0]
            if self._ledger.holds(event.id):
                self._pass_on(event)
            self._events.popleft()
        for id_ in self._ledger.open_ids:
            if not self._ledger.progress(id_, self._runner.row_steps(id_)):
                log.warning("generation %s has ended or is another worker's now", id_)
                self.drop(id_)
        for id_ in self._ledger.canceled():
            self._cancel(id_)

    def advancing(self) -> bool:
        """Whether the engine has made a step lately, or has nothing to do."""
        return self.stalled_seconds() < self._patience

    def stalled_seconds(self) -> float:
        """How long the engine has made no step although it had work."""
        now, steps = time.monotonic(), self._runner.steps
        if steps != self._steps_seen or not self._ledger.open_ids:
            self._steps_seen, self._steps_seen_at = steps, now
        return now - self._steps_seen_at

    def housekeeping(self) -> None:
        """Publish new versions' cards, and say that this worker lives."""
        self._ledger.publish_cards(self._catalog.news())
        if self.advancing():
            self._ledger.heartbeat(self._catalog.names)

    @property
    def _patience(self) -> float:
        return max(_STALLED_SECONDS, _STALLED_STEPS * self._runner.step_seconds)

    def _pass_on(self, event: Event | Canceled) -> None:
        ledger, id_ = self._ledger, event.id
        if isinstance(event, Started):
            if not ledger.start(id_):
                self.drop(id_)
        elif isinstance(event, Preview):
            ledger.preview(id_, event.index, event.step, plain_png(event.pixels))
        elif isinstance(event, ImageDone):
            self._image(event)
        elif isinstance(event, WorkDone):
            if id_ in self._frames:
                rows = [self._frames[id_][index] for index in sorted(self._frames[id_])]
                ledger.strip(id_, strip_png(rows, scale=ledger.record(id_).request.scale))
            self._end(id_, Status.SUCCEEDED)
        elif isinstance(event, Canceled):
            self._end(id_, Status.CANCELED)
        else:
            log.error("generation %s failed", id_, exc_info=event.error)
            detail = (
                f"drawing failed ({type(event.error).__name__}: {str(event.error)[:200]}); "
                "other parameters may work; the worker's log says more"
            )
            self._end(id_, Status.FAILED, ErrorInfo(code="drawing_failed", detail=detail))

    def _image(self, event: ImageDone) -> None:
        request = self._ledger.record(event.id).request
        height, width = event.pixels.shape[:2]
        self._ledger.image(
            event.id,
            event.index,
            png(event.pixels, request, event.index),
            width=width * request.scale,
            height=height * request.scale,
        )
        if event.frames:
            self._frames.setdefault(event.id, {})[event.index] = event.frames

    def _end(self, id_: str, status: Status, error: ErrorInfo | None = None) -> None:
        self._ledger.finish(id_, status, error)
        self._let_go(id_)

    def _cancel(self, id_: str) -> None:
        if any(work.id == id_ for work in self._loners):
            self._end(id_, Status.CANCELED)  # it has not begun
        else:
            self._runner.cancel(id_)

    def _let_go(self, id_: str) -> None:
        self._frames.pop(id_, None)
        self._loners = deque(work for work in self._loners if work.id != id_)
        if self._alone == id_:
            self._alone = None
            self._next_loner()

    def _next_loner(self) -> None:
        """One at a time, so that only the one that runs can be blamed for a crash."""
        if self._alone is None and self._loners:
            work = self._loners.popleft()
            self._alone = work.id
            self._ledger.isolate(work.id)
            self._runner.submit(work)

    def _work(self, record: Record) -> Work | ErrorInfo:
        request = record.request
        loaded = self._catalog.find(request.model)
        if loaded is None:
            return ErrorInfo(
                code="model_unavailable",
                detail=f"{request.model} is no longer there to be loaded; GET /v1/models lists "
                "what can be drawn",
            )
        diffusion = loaded.manifest.diffusion
        try:
            table = build_table(
                diffusion.build_schedule(),
                prediction=diffusion.prediction,
                sampler=request.sampler,
                steps=request.steps,
                eta=request.eta,
                variance=diffusion.variance,
            )
        except ValueError as error:
            return ErrorInfo(code="invalid_request", detail=str(error))
        every = request.preview_every
        if every:
            every = max(every, -(-request.batch * request.steps // _MOST_PREVIEWS))
        return Work(
            id=record.id,
            owner=record.owner,
            weights=loaded.weights,
            table=table,
            seeds=tuple(range(request.seed, request.seed + request.batch)),
            labels=tuple(request.classes),
            guidance_scale=request.guidance_scale,
            clip=diffusion.clip,
            strip=request.strip,
            preview_every=every,
            alone=record.abandoned > 0,
        )
