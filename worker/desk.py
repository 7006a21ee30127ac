"""Between the queue and the engine: a record becomes a work, the engine's events become results.

Runs in the thread that talks to Redis. Knows the ledger, the catalog and the runner; not RQ.
"""

import logging
import time
from collections import deque

from models.sampler import build_table
from wire.record import Record
from wire.schemas import ErrorInfo, Status
from worker.catalog import Catalog
from worker.engine import Event, ImageDone, Started, Work, WorkDone
from worker.ledger import Ledger
from worker.render import png
from worker.runner import Canceled, Runner

log = logging.getLogger("emaki.worker")
_STALLED_AFTER = 10.0


class Desk:
    """One per worker process; outlives connections to Redis."""

    def __init__(self, name: str, ledger: Ledger, catalog: Catalog, runner: Runner) -> None:
        self._name = name
        self._ledger, self._catalog, self._runner = ledger, catalog, runner
        self._events: deque[Event | Canceled] = deque()
        self._steps_seen, self._steps_seen_at = -1, time.monotonic()

    @property
    def has_room(self) -> bool:
        """Whether the engine has places that no row wants yet."""
        return self._runner.free_places > 0

    def accept(self, id_: str) -> bool:
        """Open a generation and hand it to the engine; False if there is nothing (more) to do."""
        record = self._ledger.open(id_)
        if record is None:
            return False
        work = self._work(record)
        if isinstance(work, ErrorInfo):
            log.error("generation %s: %s", id_, work.detail)
            self._ledger.finish(id_, Status.FAILED, work)
            return False
        self._runner.submit(work)
        return True

    def drop(self, id_: str) -> None:
        """Stop working on a generation without ending it."""
        self._runner.cancel(id_)
        self._ledger.drop(id_)

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
            self._ledger.progress(id_, self._runner.row_steps(id_))
        for id_ in self._ledger.canceled():
            self._runner.cancel(id_)

    def advancing(self) -> bool:
        """Whether the engine has made a step lately."""
        now, steps = time.monotonic(), self._runner.steps
        if steps != self._steps_seen or not self._ledger.open_ids:
            self._steps_seen, self._steps_seen_at = steps, now
        return now - self._steps_seen_at < _STALLED_AFTER

    def housekeeping(self) -> None:
        """Look for new versions, publish cards, and say that this worker lives."""
        self._ledger.publish_cards(self._catalog.refresh())
        if self.advancing():
            self._ledger.heartbeat(self._name, self._catalog.names)

    def _pass_on(self, event: Event | Canceled) -> None:
        ledger, id_ = self._ledger, event.id
        if isinstance(event, Started):
            if not ledger.start(id_):
                self.drop(id_)
        elif isinstance(event, ImageDone):
            request = ledger.record(id_).request
            data = png(event.pixels, request, event.index)
            height, width = event.pixels.shape[:2]
            ledger.image(
                id_, event.index, data, width=width * request.scale, height=height * request.scale
            )
        elif isinstance(event, WorkDone):
            ledger.finish(id_, Status.SUCCEEDED)
        elif isinstance(event, Canceled):
            ledger.finish(id_, Status.CANCELED)
        else:
            log.error("generation %s failed", id_, exc_info=event.error)
            detail = f"drawing failed: {type(event.error).__name__}; see the worker's log"
            ledger.finish(id_, Status.FAILED, ErrorInfo(code="engine_error", detail=detail))

    def _work(self, record: Record) -> Work | ErrorInfo:
        request = record.request
        loaded = self._catalog.find(request.model)
        if loaded is None:
            return ErrorInfo(
                code="model_unavailable",
                detail=f"this worker no longer has {request.model}; GET /v1/models lists what can "
                "be drawn",
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
        return Work(
            id=record.id,
            owner=record.owner,
            weights=loaded.weights,
            table=table,
            seeds=tuple(range(request.seed, request.seed + request.batch)),
            labels=tuple(request.classes),
            guidance_scale=request.guidance_scale,
            clip=diffusion.clip,
        )
