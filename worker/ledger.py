"""What Redis is told about each generation that this worker holds: state, progress, images.

Every change goes through a script that applies it once (`wire.scripts`), so a repeat after a
crash is harmless. Knows Redis and wire; knows no RQ and no torch.
"""

import hashlib
import time
from dataclasses import dataclass

from pydantic import ValidationError
from redis import Redis

from wire import keys, scripts
from wire.record import Record, image_entry, image_field
from wire.schemas import ErrorInfo, ModelCard, Status

PROGRESS_SECONDS = 0.1
MAX_ATTEMPTS = 5
WORKER_TTL = 15


@dataclass
class _Open:
    record: Record
    began: float = 0.0
    told_at: float = 0.0
    told_steps: int = -1


class Ledger:
    """Records of the generations in hand."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._open: dict[str, _Open] = {}
        self._start = redis.register_script(scripts.START)
        self._progress = redis.register_script(scripts.PROGRESS)
        self._image = redis.register_script(scripts.IMAGE)
        self._finish = redis.register_script(scripts.FINISH)

    def open(self, id_: str) -> Record | None:
        """Read a generation that has been taken from the queue.

        Returns:
            None when there is nothing to do: unknown, expired, finished or canceled already.
        """
        data = self._redis.hgetall(keys.generation(id_))
        if not data:
            return None
        try:
            record = Record.from_hash(data)
        except (KeyError, ValueError, ValidationError):
            return None
        if record.status.finished:
            return None
        self._open[id_] = _Open(record)
        if self._redis.sismember(keys.CANCELS, id_):
            self.finish(id_, Status.CANCELED)
            return None
        return record

    def start(self, id_: str) -> bool:
        """The first step is made; False when somebody ended it meanwhile."""
        entry = self._open[id_]
        record, now = entry.record, time.time()
        if record.status is Status.QUEUED:
            record.status, record.started = Status.RUNNING, now
        entry.began = now
        attempt = self._start(
            keys=[keys.generation(id_), keys.events(id_)],
            args=[id_, repr(now), record.generation(now=now).model_dump_json()],
        )
        if attempt > MAX_ATTEMPTS:
            self.finish(
                id_,
                Status.FAILED,
                ErrorInfo(
                    code="worker_lost",
                    detail=f"the worker died {MAX_ATTEMPTS} times while drawing this; "
                    "try fewer images or steps, or see the worker's log",
                ),
            )
            return False
        return bool(attempt)

    def progress(self, id_: str, row_steps: int) -> None:
        """Tell how far it is, at most ten times a second."""
        entry = self._open[id_]
        record, now = entry.record, time.time()
        unchanged = row_steps <= entry.told_steps
        if unchanged or now - entry.told_at < PROGRESS_SECONDS or not entry.began:
            return
        entry.told_at, entry.told_steps = now, row_steps
        total = record.request.batch * record.request.steps
        pace = (now - entry.began) / max(row_steps, 1)
        record.row_steps, record.eta = row_steps, now + pace * (total - row_steps)
        self._progress(
            keys=[keys.generation(id_), keys.events(id_)],
            args=[id_, row_steps, repr(record.eta), record.progress(now=now).model_dump_json()],
        )

    def image(self, id_: str, index: int, png: bytes, *, width: int, height: int) -> None:
        """Store a finished image and announce it."""
        record = self._open[id_].record
        facts = {
            "index": index,
            "seed": record.request.seed + index,
            "class": record.request.class_names[index],
            "sha256": hashlib.sha256(png).hexdigest(),
            "width": width,
            "height": height,
        }
        record.images[index] = facts
        entry = image_entry(id_, facts)
        self._image(
            keys=[keys.generation(id_), keys.events(id_), keys.images(id_)],
            args=[
                id_,
                image_field(index),
                entry.model_dump_json(exclude={"url"}),
                index,
                png,
                entry.model_dump_json(),
            ],
        )

    def finish(self, id_: str, status: Status, error: ErrorInfo | None = None) -> None:
        """End a generation, unless it has ended already, and let go of it."""
        names, arguments = scripts.finish_call(self._open[id_].record, status, error)
        self._finish(keys=names, args=arguments)
        del self._open[id_]  # only now: a lost connection must not lose the end

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

    def canceled(self) -> list[str]:
        """Which of the generations in hand a client wants stopped."""
        ids = self.open_ids
        if not ids:
            return []
        answers = self._redis.smismember(keys.CANCELS, ids)
        return [id_ for id_, wanted in zip(ids, answers, strict=True) if wanted]

    def publish_cards(self, cards: list[ModelCard]) -> None:
        """Tell the API about models; cards outlive this worker."""
        if cards:
            self._redis.hset(
                keys.MODELS, mapping={card.id: card.model_dump_json() for card in cards}
            )

    def heartbeat(self, worker: str, models: list[str]) -> None:
        """This worker's engine is alive and holds these models."""
        with self._redis.pipeline() as pipe:
            if models:
                pipe.set(keys.worker(worker), ",".join(models), ex=WORKER_TTL)
                pipe.sadd(keys.WORKERS, worker)
            else:
                pipe.delete(keys.worker(worker))
            pipe.execute()

    def farewell(self, worker: str) -> None:
        """This worker is leaving."""
        with self._redis.pipeline() as pipe:
            pipe.delete(keys.worker(worker))
            pipe.srem(keys.WORKERS, worker)
            pipe.execute()
