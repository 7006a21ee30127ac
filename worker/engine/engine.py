"""The engine: rows of different requests advance together, one network evaluation at a time.

A row is one image of one request. Each `step()` picks rows fairly, evaluates the network once for
all of them (`batch`), and moves each along its own sampler's table. A row takes two places
in the network's batch when it is guided, one otherwise.

A step that raises changes nothing. Each of its works is then tried alone for a step: the one that
fails alone fails, the others go on. Out of memory halves the capacity instead.

Knows torch and `models`; knows no Redis, RQ, HTTP, files or threads.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worker.engine.batch import Batch
from worker.engine.fairness import FairShare
from worker.engine.precision import is_out_of_memory
from worker.engine.work import (
    Event,
    ImageDone,
    Preview,
    Row,
    Started,
    Weights,
    Work,
    WorkDone,
    WorkFailed,
)

log = logging.getLogger("emaki.worker")
_SMALLEST_CAPACITY = 2  # a guided row
_FAILURES_IN_COMPANY = 3


@dataclass(frozen=True)
class LastStep:
    """How the last step's batch was filled: rows, their places, and what it was padded to."""

    rows: int = 0
    places: int = 0
    bucket: int = 0


class Engine:
    """Holds every running work and advances them, a step at a time.

    Args:
        buckets: sizes that the network's batch is padded to, rising; the last is the capacity.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[-1] < _SMALLEST_CAPACITY:
            raise ValueError(f"buckets {list(buckets)} are not rising sizes that end at 2 or more")
        self.buckets = tuple(buckets)
        self.steps = 0
        self.last = LastStep()
        self._shares: dict[Weights, FairShare[Row]] = {}
        self._isolated: FairShare[Row] = FairShare()  # of works that share no batch
        self._isolated_had_turn = False
        self._batches: dict[Weights, Batch] = {}
        self._works: dict[str, _Progress] = {}
        self._probing: list[str] = []

    @property
    def capacity(self) -> int:
        """Places in the largest batch."""
        return self.buckets[-1]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to advance."""
        return not self._works

    @property
    def demand(self) -> int:
        """Places that all unfinished rows would take together."""
        return self._isolated.demand + sum(share.demand for share in self._shares.values())

    def row_steps(self, id_: str) -> int:
        """Image-steps made so far for a work; 0 once it is gone."""
        progress = self._works.get(id_)
        return progress.row_steps if progress else 0

    def add(self, work: Work) -> None:
        """Take a work in; its rows join at the next step that has places.

        Raises:
            ValueError: it is here already, or its weights cannot draw it.
        """
        if work.id in self._works:
            raise ValueError(f"work {work.id} is running already")
        rows = work.rows()
        progress = _Progress(work, unfinished=len(rows), alone=work.alone)
        self._works[work.id] = progress
        self._share_of(progress).add(work.owner, work.id, [(row, row.places) for row in rows])

    def cancel(self, id_: str) -> bool:
        """Drop a work at once; False if it is not here."""
        progress = self._works.pop(id_, None)
        if progress is None:
            return False
        self._share_of(progress).remove(id_)
        self._forget(id_)
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Advance as many rows as fit, of one model's weights; models take turns.

        Returns:
            What happened, in order.
        """
        if not self._works:
            return []
        weights, rows = self._choose()
        self.steps += 1
        batch = self._batches.get(weights)
        if batch is None:
            batch = self._batches[weights] = Batch(weights)
        places = sum(row.places for row in rows)
        bucket = next(size for size in self.buckets if size >= places)
        self.last = LastStep(rows=len(rows), places=places, bucket=bucket)
        try:
            batch.advance(rows, bucket=bucket)
        except Exception as error:  # noqa: BLE001 - whatever it was, find out whose it is
            return self._failed(rows, error)
        return self._account(rows, batch)

    def _choose(self) -> tuple[Weights, list[Row]]:
        """Whose turn it is: one probed work's, else by turns one isolated's and the shared batch.

        The crowd's are a fair choice of one model's rows.
        """
        isolated = next((id_ for id_, progress in self._works.items() if progress.alone), None)
        self._isolated_had_turn = isolated is not None and not (
            self._isolated_had_turn and self._shares
        )
        single = (
            self._probing[0] if self._probing else isolated if self._isolated_had_turn else None
        )
        if single is not None:
            progress = self._works[single]
            rows = self._share_of(progress).choose_from(single, self.capacity)
            return progress.work.weights, rows
        weights, share = next(iter(self._shares.items()))
        self._shares[weights] = self._shares.pop(weights)  # to the end of the line
        return weights, share.choose(self.capacity)

    def _account(self, rows: list[Row], batch: Batch) -> list[Event]:
        """Note a step that was made, and tell what came of it."""
        events: list[Event] = []
        done = [i for i, row in enumerate(rows) if row.finished]
        previewed = [i for i, row in enumerate(rows) if row.previewed]
        pictures = dict(zip(done, batch.pixels(done), strict=True))
        previews = dict(zip(previewed, batch.pixels(previewed, estimates=True), strict=True))
        for place, row in enumerate(rows):
            id_, progress = row.work.id, self._works[row.work.id]
            if progress.row_steps == 0:
                events.append(Started(id_))
            progress.row_steps += 1
            if place in previews:
                events.append(Preview(id_, row.index, row.k, previews[place]))
            if place in pictures:
                if row.k in row.moments:
                    row.frames.append(pictures[place])
                events.append(ImageDone(id_, row.index, pictures[place], tuple(row.frames)))
                self._share_of(progress).done(id_, row)
                progress.unfinished -= 1
                if progress.unfinished == 0:
                    del self._works[id_]
                    self._forget(id_)
                    events.append(WorkDone(id_))
        if self._probing and rows[0].work.id == self._probing[0]:
            self._probing.pop(0)  # it did well alone
        return events

    def _failed(self, rows: list[Row], error: Exception) -> list[Event]:
        """Decide what a step that raised means for its works.

        Raises:
            AcceleratorError: the device is broken for this process, and no work is to blame.
        """
        if isinstance(error, torch.AcceleratorError):
            raise error
        if is_out_of_memory(error) and self.capacity > _SMALLEST_CAPACITY:
            half = self.capacity // 2
            self.buckets = (*(size for size in self.buckets if size < half), half)
            log.warning("out of memory; batches of at most %d from now on", half)
            return []
        ids = list(dict.fromkeys(row.work.id for row in rows))
        if len(ids) == 1:
            self.cancel(ids[0])
            return [WorkFailed(ids[0], error)]
        log.warning("a step of %d requests failed (%s); trying each alone", len(ids), error)
        for id_ in ids:
            progress = self._works[id_]
            progress.failures += 1
            if progress.failures >= _FAILURES_IN_COMPANY:
                self._set_apart(progress)  # it fails only in company: finish it without
        self._probing = ids
        return []

    def _forget(self, id_: str) -> None:
        if id_ in self._probing:
            self._probing.remove(id_)
        self._drop_empty_shares()
        used = {progress.work.weights for progress in self._works.values()}
        self._batches = {w: batch for w, batch in self._batches.items() if w in used}

    def _share_of(self, progress: "_Progress") -> FairShare[Row]:
        if progress.alone:
            return self._isolated
        return self._shares.setdefault(progress.work.weights, FairShare())

    def _set_apart(self, progress: "_Progress") -> None:
        """Let a work share no batch from now on."""
        if not progress.alone:
            rows = self._share_of(progress).remove(progress.work.id)
            progress.alone = True
            self._isolated.add(progress.work.owner, progress.work.id, rows)
            self._drop_empty_shares()

    def _drop_empty_shares(self) -> None:
        self._shares = {w: share for w, share in self._shares.items() if share.demand}


@dataclass
class _Progress:
    work: Work
    unfinished: int
    alone: bool
    row_steps: int = 0
    failures: int = 0
