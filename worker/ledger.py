"""What Redis is told about each generation that this worker holds: state, progress, images.

Every change is a transition of `wire.life`, which applies once, so a repeat after a crash is
harmless. What happens waits in the outbox until `talk`, once between two steps, tells it all.
Knows Redis and wire; knows no RQ and no torch.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from wire import keys, life
from wire.images import Images, ImagesAway, InputFiles, image_name, strip_name, upload_name
from wire.life import Call, Life, Taken
from wire.logs import fields
from wire.metrics import Tally
from wire.record import Record
from wire.schemas import ErrorInfo, Status
from wire.traces import NoTraces, Traces
from worker.journeys import Journeys
from worker.outbox import Outbox
from worker.presence import Presence

log = logging.getLogger("emaki.worker")
PROGRESS_SECONDS = 0.1  # between two progress events of a generation, at least
PROGRESS_PER_SECOND = 50  # of all generations in hand together, at most
_MOST_REMOVED = 16  # generations whose files are removed at once
_REMOVING_SECONDS = 60  # until files that somebody began to remove are removed by another


@dataclass
class _Open:
    record: Record
    began_at: float | None = None
    began_steps: int = 0
    told_at: float = 0.0


@dataclass(frozen=True)
class Heard:
    """What Redis had to say: ids to let go of, ids that clients want stopped, jobs taken."""

    lost: list[str]
    canceled: list[str]
    taken: list[Taken]


class Ledger:
    """Records of the generations in hand.

    Args:
        worker: this worker's name; a generation is told about by the worker that has it in hand.
        images: where pictures go; None: into Redis.
        traces: where spans go; None: nowhere.
    """

    def __init__(
        self,
        redis: Redis,
        worker: str,
        images: Images | None = None,
        *,
        traces: Traces | None = None,
    ) -> None:
        self.worker = worker
        self.journeys = Journeys(traces or NoTraces())
        self.presence = Presence(redis, worker)
        self._redis, self._images = redis, images
        self._life = Life(redis)
        self._outbox = Outbox(self._life)
        self._open: dict[str, _Open] = {}
        self._lost: list[str] = []
        self._drawing: tuple[str, ...] = ()
        self._tally = Tally()

    def open(self, taken: Taken) -> Record | None:
        """Read a generation that was taken in hand.

        Returns:
            None when there is nothing to draw: expired, unreadable, or canceled already.
        """
        if not taken.fields:
            return None
        try:
            record = Record.from_hash(taken.fields)
        except (KeyError, ValueError) as error:
            log.error("the record of generation %s makes no sense: %s", taken.id, error)
            self._abort(taken.id, taken.fields)
            return None
        self._open[taken.id] = _Open(record)
        self.journeys.taken(record)
        if taken.canceled:
            self.finish(taken.id, Status.CANCELED)
            return None
        return record

    def inputs(self, id_: str) -> InputFiles | None:
        """The pictures that a generation begins from, as the API has left them."""
        found: Any = self._redis.hmget(keys.images(id_), [keys.INIT, keys.MASK])
        init, mask = found
        return None if init is None else InputFiles(init, mask)

    def talk(
        self,
        *,
        drawing: tuple[str, ...] = (),
        row_steps: Mapping[str, int] | None = None,
        take: Call[list[Taken]] | None = None,
    ) -> Heard:
        """Tell all that waits to be told, and hear what there is to know: in one go.

        Args:
            drawing: what the step that runs is of; told first, it may be this worker's last.
            row_steps: image-steps made, by generation.
            take: takes jobs in hand.

        Raises:
            RedisError: nothing is forgotten; try again.
        """
        progress = self._progress(row_steps or {})
        first = None if drawing == self._drawing else life.drawing(self.worker, drawing)
        asked: list[Call[Any]] = [*progress.values(), life.cancels()]
        answers = self._outbox.send(first=first, last=[*asked, *([take] if take else [])])
        self._drawing = drawing  # only now: a lost connection must not lose it
        for id_, counted in zip(progress, answers, strict=False):
            if not counted:
                self._lost.append(id_)
        lost, self._lost = list(dict.fromkeys(self._lost)), []
        wanted: set[str] = answers[len(progress)]
        return Heard(
            lost=lost,
            canceled=[id_ for id_ in self._open if id_ in wanted],
            taken=answers[-1] if take else [],
        )

    def start(self, id_: str) -> None:
        """The first step is made."""
        record, now = self._open[id_].record, time.time()
        if record.status is Status.QUEUED:
            record.status, record.started = Status.RUNNING, now
            self._tally.observe("first_step_seconds", max(0.0, now - record.created))

        def told(counted: bool) -> None:
            if not counted:
                self._lost.append(id_)

        self._outbox.add(id_, life.start(record, self.worker, now=now), told)

    def _progress(self, row_steps: Mapping[str, int]) -> dict[str, Call[bool]]:
        """How far those are that are further, each at most ten times a second."""
        now, calls = time.time(), {}
        pause = max(PROGRESS_SECONDS, len(self._open) / PROGRESS_PER_SECOND)
        for id_, made in row_steps.items():
            entry = self._open[id_]
            record = entry.record
            if record.status is not Status.RUNNING or made <= record.row_steps:
                continue
            if now - entry.told_at < pause:
                continue
            entry.told_at, record.row_steps = now, made
            if entry.began_at is None:
                entry.began_at, entry.began_steps = now, made
            elif made > entry.began_steps:
                pace = (now - entry.began_at) / (made - entry.began_steps)
                record.eta = now + pace * (record.work - made)
            calls[id_] = life.progress(record, self.worker, now=now)
        return calls

    def preview(self, id_: str, index: int, step: int, png: bytes) -> None:
        """Show what an image will roughly be."""
        call = life.preview(id_, self.worker, index=index, step=step, png=png)
        self._outbox.add(id_, call, _unheard)

    def image(self, id_: str, index: int, png: bytes, *, width: int, height: int) -> None:
        """Store a finished image and announce it, unless an earlier attempt has."""
        record = self._open[id_].record
        picture = record.request.picture(index)
        facts: dict[str, Any] = {
            "index": index,
            "seed": picture.seed,
            "class": picture.class_name,
            "sha256": hashlib.sha256(png).hexdigest(),
            "width": width,
            "height": height,
        }
        png = self._elsewhere(id_, image_name(id_, index, facts["sha256"]), png)

        # The first that came is kept: by an earlier attempt, as the record said, or this one now.
        record.images.setdefault(index, facts)
        self._outbox.add(id_, life.image(id_, self.worker, facts=facts, png=png), _unheard)

    def strip(self, id_: str, png: bytes) -> None:
        """Store the denoising strip."""
        png = self._elsewhere(id_, strip_name(id_), png)
        self._outbox.add(id_, life.strip(id_, self.worker, png=png), _unheard)

    def _elsewhere(self, id_: str, name: str, png: bytes) -> bytes:
        """Write a file, where pictures are files; what is left for Redis to keep."""
        if self._images is None:
            return png
        # Until it ends, which sets the time: longer than anything runs.
        until = time.time() + self.record(id_).result_ttl + life.REMEMBER_SECONDS
        self._redis.zadd(keys.IMAGES_KEPT, {id_: until}, gt=True)  # first: no file is forgotten
        self._images.write(name, png)
        return b""

    def remove_old_images(self) -> None:
        """Remove files whose generations have expired or were deleted."""
        if self._images is None:
            return
        old: Any = self._redis.zrangebyscore(keys.IMAGES_KEPT, 0, time.time(), 0, _MOST_REMOVED)
        try:
            for id_ in old:
                # One by one: an upload that was sent again meanwhile stays.
                again = int(time.time() + _REMOVING_SECONDS)
                if not self._life(life.remove_begun(id_, now=time.time(), again=again)):
                    continue
                name = id_.decode("latin-1")
                (sent,) = self._images.read([upload_name(name)])
                try:
                    self._images.remove(name)
                except ValueError as error:
                    log.warning("%s, but stood in %s; dropped", error, keys.IMAGES_KEPT)
                if not self._life(life.removed(id_, again=again)) and sent is not None:
                    # The same bytes as were sent again: an upload's name comes from them.
                    self._images.write(upload_name(name), sent)
        except ImagesAway as error:
            log.warning("%s; old pictures are removed later", error)

    def finish(self, id_: str, status: Status, error: ErrorInfo | None = None) -> None:
        """End a generation, unless it has ended already; it is in hand until that is told."""
        record = self._open[id_].record

        def told(counted: bool) -> None:
            self._open.pop(id_, None)
            if counted:
                self._note_end(record, error)
            else:
                self._lost.append(id_)

        self._outbox.add(id_, life.finish(record, self.worker, status, error), told)

    def _note_end(self, record: Record, error: ErrorInfo | None) -> None:
        self.journeys.ended(record)
        run = (record.finished or 0.0) - (record.started or record.finished or 0.0)
        if record.status is Status.SUCCEEDED:
            self._tally.observe("image_seconds", max(0.0, run) / record.request.batch)
        extra = fields(
            generation_id=record.id,
            request_id=record.request_id,
            run_ms=round(run * 1000, 1),
            code=error.code if error else None,
        )
        log.info("generation %s", record.status.value, extra=extra)

    def _abort(self, id_: str, data: dict[bytes, bytes]) -> None:
        """End what another release accepted and this one cannot read; nobody could wait for it."""
        detail = (
            "the worker that took this cannot read it: another release of Emaki accepted it; "
            "submit it again"
        )
        error = ErrorInfo(code="invalid_request", detail=detail)
        self._life(life.abort(id_, self.worker, error, data))

    def drop(self, id_: str) -> None:
        """Let go of a generation without ending it: another worker will."""
        self._open.pop(id_, None)
        self.journeys.dropped(id_)
        self._outbox.drop(id_)

    def record(self, id_: str) -> Record:
        """The record in hand."""
        return self._open[id_].record

    def holds(self, id_: str) -> bool:
        """Whether a generation is in hand."""
        return id_ in self._open

    @property
    def open_ids(self) -> list[str]:
        """Generations in hand."""
        return list(self._open)

    @property
    def owners(self) -> Counter[str]:
        """How many generations in hand each owner has."""
        return Counter(entry.record.owner for entry in self._open.values())

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a metric."""
        if amount:
            self._tally.add(name, amount)

    def flush(self, counts: dict[str, int], sums: dict[str, float]) -> None:
        """Add to the metrics: these, and what was counted here."""
        self._tally.merge(counts, sums)
        counts, sums = self._tally.take()
        try:
            with self._redis.pipeline() as pipe:
                for name, amount in counts.items():
                    pipe.hincrby(keys.METRICS, name, amount)
                for name, value in sums.items():
                    pipe.hincrbyfloat(keys.METRICS, name, value)
                pipe.execute()
        except RedisError:
            self._tally.merge(counts, sums)
            raise

    def forget_cancels(self) -> None:
        """Drop cancels of generations that are no more: deleted, and their worker died."""
        wanted: Any = self._redis.smembers(keys.CANCELS)
        for id_ in {name.decode() for name in wanted} - self._open.keys():
            if not self._redis.exists(keys.generation(id_)):
                self._redis.srem(keys.CANCELS, id_)


def _unheard(_answer: object) -> None:
    pass
