"""Between the queue and the engine: a record becomes a work, the engine's events become results.

Runs in the thread that talks to Redis. Knows the ledger, the catalog and the runner; not RQ.
"""

import itertools
import logging
import time
from collections import deque

from wire.images import ImagesAway
from wire.life import Call, Taken
from wire.logs import fields
from wire.record import Record
from wire.schemas import ErrorInfo, Status
from worker.catalog import Catalog, Loaded, Loading
from worker.engine.runner import Canceled, Runner
from worker.engine.work import (
    Drawing,
    ImageDone,
    Pixels,
    Preview,
    Started,
    Work,
    WorkDone,
    WorkFailed,
)
from worker.inputs import Inputs
from worker.ledger import Heard, Ledger
from worker.meter import Meter
from worker.orders import Order, Undrawable, as_work, require_classes
from worker.render import plain_png, png, strip_png

log = logging.getLogger("emaki.worker")
_STEPS_MISSED = 20  # a step may take so many times as long as usual
_ASLEEP_SECONDS = 5.0
_MAX_STRIKES = 3
_MOST_SECONDS_AT_ONCE = 0.02  # of results, between two times that Redis is told and asked
_IMAGES_PAUSE = 0.5  # before another try to write a picture outside Redis


_Result = Started | Preview | ImageDone | WorkDone | WorkFailed | Canceled


class Dispatch:
    """One per worker process; outlives connections to Redis."""

    def __init__(
        self, ledger: Ledger, catalog: Catalog, runner: Runner, meter: Meter, *, step_timeout: float
    ) -> None:
        self._step_timeout, self._meter = step_timeout, meter
        self._ledger, self._catalog, self._runner = ledger, catalog, runner
        self._events: deque[_Result] = deque()
        self._runs: dict[str, str] = {}  # generation -> its work's id; a redrawn one has another
        self._counter = itertools.count()
        self._loading: dict[str, Record] = {}  # what they need is on its way, or may not begin yet
        self._preparing: set[str] = set()  # of these, those whose preparation may end this process
        self._told: tuple[str, ...] = ()  # what Redis knows to be drawn or prepared
        self._orders: dict[str, Order] = {}  # of what is to be drawn
        self._inputs = Inputs()
        self.elsewhere: list[str] = []  # let go of for another worker; the caller puts them back
        self._drawing = Drawing(())
        self._frames: dict[str, dict[int, tuple[Pixels, ...]]] = {}
        self._pulse, self._pulse_at = -1, time.monotonic()
        self._looked_at = time.monotonic()
        self._images_at = 0.0  # when pictures can be written again

    @property
    def worker(self) -> str:
        """This worker's name."""
        return self._ledger.worker

    @property
    def room(self) -> int:
        """Places in the engine that no row wants yet; zero or less: rows or results wait."""
        return 0 if self._events else self._runner.free_places

    @property
    def step_seconds(self) -> float:
        """How long a step has taken lately."""
        return self._meter.seconds

    @property
    def versions(self) -> list[str]:
        """What this worker can draw, `name@step` each."""
        return [version for card in self._catalog.cards() for version in card.versions]

    @property
    def owners(self) -> dict[str, int]:
        """How many generations in hand each owner has."""
        return self._ledger.owners

    def accept(self, taken: Taken) -> bool:
        """Open a generation and hand it to the engine; False: another worker must draw it."""
        record = self._ledger.open(taken)
        if record is None:
            return True
        try:
            return self._accept(record)
        except BaseException:
            self.drop(taken.id)  # whoever takes it up again starts afresh
            raise

    def _accept(self, record: Record) -> bool:
        if record.strikes >= _MAX_STRIKES:
            detail = (
                f"the worker died {record.strikes} times while drawing this alone; ask for fewer "
                "images or steps, and tell whoever runs the server"
            )
            self._end(record.id, Status.FAILED, ErrorInfo(code="worker_died", detail=detail))
            return True
        version = record.request.model
        loaded = self._catalog.find(version) if self._may_prepare(record) else Loading(version)
        if isinstance(loaded, Loading):
            self._loading[record.id] = record
            return True
        if loaded is None:
            self._preparing.discard(record.id)
            self._ledger.drop(record.id)
            return False
        work = self._work(record, loaded)
        if work is None:
            self._loading[record.id] = record  # its words or pictures are on their way
            return True
        if isinstance(work, ErrorInfo):
            log.error("%s", work.detail, extra=fields(generation_id=record.id))
            self._end(record.id, Status.FAILED, work)
            return True
        self._preparing.discard(record.id)
        self._runs[record.id] = work.id
        self._runner.submit(work)
        self._ledger.journeys.begun(record.id)
        return True

    def _may_prepare(self, record: Record) -> bool:
        """Whether a model may be loaded, words encoded and pictures read for it now.

        Any of that can end the process as a step can (no memory, native code), and like a step it
        begins once Redis knows of it. What is suspected is prepared while nothing else is prepared
        or drawn: so a death is one's own strike, and never a neighbour's.
        """
        id_, request = record.id, record.request
        if id_ in self._preparing:
            return id_ in self._told
        suspects = [i for i in (*self._runs, *self._loading) if self._ledger.record(i).suspected]
        ahead = self._preparing if record.suspected else self._loading.keys() - {id_}
        loaded = self._catalog.in_memory(request.model)
        if loaded is not None and loaded.words is None and request.init_image is None:
            return not ahead & set(suspects)  # there is nothing to prepare
        if not (self._runs or self._preparing if record.suspected else suspects):
            self._preparing.add(id_)
        return False

    def drop(self, id_: str) -> None:
        """Stop working on a generation without ending it."""
        if id_ in self._runs:
            self._runner.cancel(self._runs[id_])
        self._ledger.drop(id_)
        self._let_go(id_)

    def drop_all(self) -> None:
        """Let go of everything, after the connection to the queue broke down."""
        for id_ in self._ledger.open_ids:
            self.drop(id_)

    def holds(self, id_: str) -> bool:
        """Whether a generation has not ended yet."""
        return self._ledger.holds(id_)

    def gather(self, *, wait: float) -> None:
        """Work on what happened, waiting at most ``wait`` seconds for something to happen.

        Much is worked on in several calls, for heartbeats and cancels come between them. An event,
        or what became of it, stays until Redis has taken it: a lost connection loses none.
        """
        for event in self._runner.events(wait=wait):
            if isinstance(event, Drawing):
                self._drawing = event
            else:
                self._events.append(event)
        began = time.monotonic()
        if began < self._images_at:
            return
        while self._events and time.monotonic() < began + _MOST_SECONDS_AT_ONCE:
            event = self._events[0]
            id_ = event.id.partition("#")[0]
            if self._runs.get(id_) == event.id:
                try:
                    self._pass_on(id_, event)
                except ImagesAway as error:  # Redis is there: heartbeats and all else go on
                    log.warning("%s; drawing goes on, results wait", error)
                    self._images_at = time.monotonic() + _IMAGES_PAUSE
                    return
            self._events.popleft()

    def talk(self, take: Call[list[Taken]] | None = None) -> Heard:
        """Tell Redis what happened, and do what it says; all in one round trip, if there is little.

        Returns:
            What was lost to others has been let go of; what was taken in hand is to be accepted.
        """
        row_steps = {id_: self._runner.row_steps(run) for id_, run in self._runs.items()}
        drawing = self._drawing
        drawn = [id_.partition("#")[0] for id_ in drawing.ids]
        ids = (*(id_ for id_ in drawn if id_ in self._runs), *sorted(self._preparing))
        heard = self._ledger.talk(drawing=ids, row_steps=row_steps, take=take)
        self._told = ids
        self._runner.heard(drawing)
        for id_ in heard.lost:
            log.warning("generation %s has ended or is another worker's now", id_)
            self.drop(id_)
        for id_ in heard.canceled:
            if id_ in self._loading:
                self._end(id_, Status.CANCELED)  # it has not begun
            elif id_ in self._runs:
                self._runner.cancel(self._runs[id_])
        self._begin_what_was_loading()
        return heard

    def _begin_what_was_loading(self) -> None:
        for id_, record in list(self._loading.items()):
            ours = self._accept(record)
            if not ours:
                self.elsewhere.append(id_)
            if not ours or id_ in self._runs:
                self._loading.pop(id_, None)

    def advancing(self) -> bool:
        """Whether the engine has made a step lately, or has nothing to do."""
        return self.stalled_seconds() < self._patience / 3

    def hung(self) -> bool:
        """Whether it has made none for so long, or has died, that only a restart helps."""
        return not self._runner.alive or self.stalled_seconds() > self._patience

    def stalled_seconds(self) -> float:
        """How long the engine has made no step although it had work."""
        now, pulse = time.monotonic(), self._runner.pulse
        unseen = now - self._looked_at
        if unseen > _ASLEEP_SECONDS:  # this whole process was asleep, not the engine
            self._pulse_at += unseen
        self._looked_at = now
        # Results that nobody takes now are not the engine's doing.
        if pulse != self._pulse or not self._runs or self._events:
            self._pulse, self._pulse_at = pulse, now
        return now - self._pulse_at

    def housekeeping(self) -> None:
        """Publish the models' cards, and say that this worker lives."""
        cards = self._catalog.cards()
        self._ledger.presence.offer(cards)
        self._ledger.count("checkpoints_refused", self._catalog.take_refusals())
        self._ledger.flush(*self._meter.take())
        self._ledger.forget_cancels()
        self._ledger.remove_old_images()
        if self.advancing():
            speed = self._meter.speed
            self._ledger.presence.heartbeat(
                cards, pace=speed.pace, full=speed.full_step, lone=speed.lone_step
            )

    def recovered(self) -> None:
        """A dead worker's request was put back into the queue."""
        self._ledger.count("recoveries")

    @property
    def _patience(self) -> float:
        return max(self._step_timeout, _STEPS_MISSED * self._meter.seconds)

    def _pass_on(self, id_: str, event: _Result) -> None:
        ledger = self._ledger
        if isinstance(event, Started):
            ledger.start(id_)
        elif isinstance(event, Preview):
            ledger.preview(id_, event.index, event.step, plain_png(event.pixels))
        elif isinstance(event, ImageDone):
            self._image(id_, event)
        elif isinstance(event, WorkDone):
            if id_ in self._frames:
                rows = [self._frames[id_][index] for index in sorted(self._frames[id_])]
                ledger.strip(id_, strip_png(rows, ledger.record(id_).request.pictures))
            self._end(id_, Status.SUCCEEDED)
        elif isinstance(event, Canceled):
            self._end(id_, Status.CANCELED)
        else:
            log.error("drawing failed", exc_info=event.error, extra=fields(generation_id=id_))
            detail = (
                f"drawing failed ({type(event.error).__name__}: {str(event.error)[:200]}); "
                "other parameters may work; the worker's log says more"
            )
            self._end(id_, Status.FAILED, ErrorInfo(code="drawing_failed", detail=detail))

    def _image(self, id_: str, event: ImageDone) -> None:
        picture = self._ledger.record(id_).request.picture(event.index)
        height, width = event.pixels.shape[:2]
        began = time.perf_counter()
        encoded = png(event.pixels, picture)
        self._ledger.journeys.encoded(id_, time.perf_counter() - began)
        self._ledger.image(
            id_,
            event.index,
            encoded,
            width=width * picture.scale,
            height=height * picture.scale,
        )
        if event.frames:
            self._frames.setdefault(id_, {})[event.index] = event.frames

    def _end(self, id_: str, status: Status, error: ErrorInfo | None = None) -> None:
        self._ledger.finish(id_, status, error)
        self._let_go(id_)

    def _let_go(self, id_: str) -> None:
        self._runs.pop(id_, None)
        self._loading.pop(id_, None)
        self._preparing.discard(id_)
        self._orders.pop(id_, None)
        self._frames.pop(id_, None)

    def _work(self, record: Record, loaded: Loaded) -> Work | ErrorInfo | None:
        """What to draw, or why it cannot be; None: its words or pictures are on their way."""
        request = record.request
        try:
            if record.id not in self._orders:
                require_classes(request, loaded.manifest)
                files = self._ledger.inputs(record.id) if request.init_image else None
                if request.init_image and files is None:
                    raise Undrawable("invalid_request", "its init_image is gone; send it again")
                self._orders[record.id] = Order(
                    loaded.conditions(request),
                    self._inputs.begin(files, request, loaded.weights),
                )
            if not self._orders[record.id].ready:
                return None
            order = self._orders.pop(record.id)
            return as_work(record, loaded, order, id_=f"{record.id}#{next(self._counter)}")
        except Undrawable as error:
            return error.info
