"""What Redis is told about each generation that this worker holds: state, progress, images.

Every change goes through a script that applies it once (`wire.scripts`), so a repeat after a
crash is harmless. Knows Redis and wire; knows no RQ and no torch.
"""

import base64
import hashlib
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from wire import keys, scripts
from wire.images import Images, ImagesAway, image_name, strip_name
from wire.logs import fields
from wire.metrics import Tally
from wire.record import Record, image_entry, image_field
from wire.schemas import ErrorInfo, ModelCard, Status, WorkerState

log = logging.getLogger("emaki.worker")
PROGRESS_SECONDS = 0.1  # between two progress events of a generation, at least
PROGRESS_PER_SECOND = 50  # of all generations in hand together, at most
WORKER_TTL = 15
_TTL_UNKNOWN = 3600
_MOST_REMOVED = 16  # generations whose files are removed at once


@dataclass
class _Open:
    record: Record
    began_at: float | None = None
    began_steps: int = 0
    told_at: float = 0.0


class Ledger:
    """Records of the generations in hand.

    Args:
        worker: this worker's name; a generation is told about by the worker that started it last.
        images: where pictures go; None: into Redis.
    """

    def __init__(self, redis: Redis, worker: str, images: Images | None = None) -> None:
        self._redis, self._worker, self._images = redis, worker, images
        self._open: dict[str, _Open] = {}
        self._read = redis.register_script(scripts.OPEN)
        self._start = redis.register_script(scripts.START)
        self._progress = redis.register_script(scripts.PROGRESS)
        self._preview = redis.register_script(scripts.PREVIEW)
        self._image = redis.register_script(scripts.IMAGE)
        self._finish = redis.register_script(scripts.FINISH)
        self._isolate = redis.register_script(scripts.ISOLATE)
        self._strip = redis.register_script(scripts.STRIP)
        self._tally = Tally()

    def open(self, id_: str) -> Record | None:
        """Read a generation that has been taken from the queue.

        Returns:
            None when there is nothing to do: unknown, expired, finished or canceled already.
        """
        flat, canceled = self._read(keys=[keys.generation(id_)], args=[id_, self._worker])
        if not flat:
            return None
        data = dict(zip(flat[::2], flat[1::2], strict=True))
        try:
            record = Record.from_hash(data)
        except (KeyError, ValueError) as error:
            log.error("the record of generation %s makes no sense: %s", id_, error)
            self._abort(id_, data)
            return None
        if record.status.finished:
            return None
        self._open[id_] = _Open(record)
        if canceled:
            self.finish(id_, Status.CANCELED)
            return None
        return record

    def isolate(self, id_: str) -> None:
        """From now on, if the worker dies, it is this generation's doing."""
        self._isolate(keys=[keys.generation(id_)])

    def start(self, id_: str) -> bool:
        """The first step is made; False when somebody ended it meanwhile."""
        record, now = self._open[id_].record, time.time()
        if record.status is Status.QUEUED:
            record.status, record.started = Status.RUNNING, now
            self._tally.observe("first_step_seconds", max(0.0, now - record.created))
        event = record.generation(now=now).model_dump_json()
        answer = self._start(
            keys=[keys.generation(id_), keys.events(id_)],
            args=[id_, repr(now), event, self._worker],
        )
        return bool(answer)

    def progress(self, id_: str, row_steps: int) -> bool:
        """Tell how far it is, at most ten times a second.

        Returns:
            False when this worker should let go: it has ended, or another worker has it.
        """
        entry = self._open[id_]
        record, now = entry.record, time.time()
        if record.status is not Status.RUNNING or row_steps <= record.row_steps:
            return True
        pause = max(PROGRESS_SECONDS, len(self._open) / PROGRESS_PER_SECOND)
        if now - entry.told_at < pause:
            return True
        entry.told_at, record.row_steps = now, row_steps
        if entry.began_at is None:
            entry.began_at, entry.began_steps = now, row_steps
        elif row_steps > entry.began_steps:
            pace = (now - entry.began_at) / (row_steps - entry.began_steps)
            record.eta = now + pace * (record.request.batch * record.request.steps - row_steps)
        eta = "" if record.eta is None else repr(record.eta)
        event = record.progress(now=now).model_dump_json()
        return bool(
            self._progress(
                keys=[keys.generation(id_), keys.events(id_)],
                args=[id_, self._worker, row_steps, eta, event],
            )
        )

    def preview(self, id_: str, index: int, step: int, png: bytes) -> None:
        """Show what an image will roughly be."""
        data = {"index": index, "step": step, "png_base64": base64.b64encode(png).decode()}
        self._preview(
            keys=[keys.generation(id_), keys.events(id_)],
            args=[id_, self._worker, json.dumps(data)],
        )

    def image(self, id_: str, index: int, png: bytes, *, width: int, height: int) -> None:
        """Store a finished image and announce it, unless an earlier attempt has."""
        record = self._open[id_].record
        facts: dict[str, Any] = {
            "index": index,
            "seed": record.request.seed + index,
            "class": record.request.class_names[index],
            "sha256": hashlib.sha256(png).hexdigest(),
            "width": width,
            "height": height,
        }
        event = image_entry(id_, facts).model_dump_json()
        png = self._elsewhere(id_, image_name(id_, index, facts["sha256"]), png)
        kept = self._image(
            keys=[keys.generation(id_), keys.events(id_), keys.images(id_)],
            args=[id_, image_field(index), json.dumps(facts), index, png, event],
        )
        record.images[index] = json.loads(kept)

    def strip(self, id_: str, png: bytes) -> None:
        """Store the denoising strip."""
        png = self._elsewhere(id_, strip_name(id_), png)
        self._strip(
            keys=[keys.generation(id_), keys.events(id_), keys.images(id_)], args=[id_, png]
        )

    def _elsewhere(self, id_: str, name: str, png: bytes) -> bytes:
        """Write a file, where pictures are files; what is left for Redis to keep."""
        if self._images is None:
            return png
        # Until it ends, which sets the time: longer than anything runs.
        until = time.time() + self.record(id_).result_ttl + scripts.REMEMBER_SECONDS
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
                try:
                    self._images.remove(id_.decode("latin-1"))
                except ValueError as error:
                    log.warning("%s, but stood in %s; dropped", error, keys.IMAGES_KEPT)
                self._redis.zrem(keys.IMAGES_KEPT, id_)
        except ImagesAway as error:
            log.warning("%s; old pictures are removed later", error)

    def finish(self, id_: str, status: Status, error: ErrorInfo | None = None) -> None:
        """End a generation, unless it has ended already, and let go of it."""
        record = self._open[id_].record
        names, arguments = scripts.finish_call(record, status, error)
        ended = self._finish(keys=names, args=arguments)
        del self._open[id_]  # only now: a lost connection must not lose the end
        if ended:
            run = (record.finished or 0.0) - (record.started or record.finished or 0.0)
            if status is Status.SUCCEEDED:
                self._tally.observe("image_seconds", max(0.0, run) / record.request.batch)
            extra = fields(
                generation_id=id_,
                request_id=record.request_id,
                run_ms=round(run * 1000, 1),
                code=error.code if error else None,
            )
            log.info("generation %s", status.value, extra=extra)

    def _abort(self, id_: str, data: dict[Any, Any]) -> None:
        """End what another release accepted and this one cannot read; nobody could wait for it."""
        detail = (
            "the worker that took this cannot read it: another release of Emaki accepted it; "
            "submit it again"
        )
        kept = data.get(b"result_ttl", b"")
        names, arguments = scripts.abort_call(
            id_,
            ErrorInfo(code="invalid_request", detail=detail),
            int(kept) if kept.isdigit() else _TTL_UNKNOWN,
        )
        self._finish(keys=names, args=arguments)

    def drop(self, id_: str) -> None:
        """Let go of a generation without ending it: another worker will."""
        self._open.pop(id_, None)

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

    def canceled(self) -> list[str]:
        """Which of the generations in hand a client wants stopped."""
        ids = self.open_ids
        if not ids:
            return []
        answers = self._redis.smismember(keys.CANCELS, ids)
        return [id_ for id_, wanted in zip(ids, answers, strict=True) if wanted]

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

    def publish_cards(self, cards: list[ModelCard]) -> None:
        """Tell the API about models; cards outlive this worker."""
        if cards:
            self._redis.hset(
                keys.MODELS, mapping={card.id: card.model_dump_json() for card in cards}
            )

    def heartbeat(self, models: list[str], *, pace: float) -> None:
        """This worker's engine is alive, holds these models and is so fast (rows a second)."""
        key = keys.worker(self._worker)
        records = [entry.record for entry in self._open.values()]
        backlog = sum(record.work - record.row_steps for record in records)
        state = WorkerState(models=models, pace=pace, backlog=backlog)
        with self._redis.pipeline() as pipe:
            if models:
                pipe.set(key, state.model_dump_json(), ex=WORKER_TTL)
                pipe.sadd(keys.WORKERS, self._worker)
            else:
                pipe.delete(key)
            pipe.execute()

    def forget_cancels(self) -> None:
        """Drop cancels of generations that are no more: deleted, and their worker died."""
        wanted: Any = self._redis.smembers(keys.CANCELS)
        for id_ in {name.decode() for name in wanted} - self._open.keys():
            if not self._redis.exists(keys.generation(id_)):
                self._redis.srem(keys.CANCELS, id_)

    def farewell(self) -> None:
        """This worker is leaving."""
        with self._redis.pipeline() as pipe:
            pipe.delete(keys.worker(self._worker))
            pipe.srem(keys.WORKERS, self._worker)
            pipe.execute()
