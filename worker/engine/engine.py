"""The engine: rows of different requests advance together, one network evaluation at a time.

A row is one image of one request. Each `step()` picks rows fairly, of one model's weights,
evaluates the network once for all of them (`batch`), and moves each along its own sampler's table.
A row takes two places in the network's batch when it is guided, one otherwise.

A step that raises changes nothing. Each of its works is then probed, alone for a step: the one that
fails alone fails, the others go on. Out of memory makes the next steps smaller instead (`memory`).

Knows torch and `models`; knows no Redis, RQ, HTTP, files or threads.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from models.cores import Cores
from worker.engine.batch import Batch, Outcome, Shown
from worker.engine.chunks import Cut, cut
from worker.engine.fairness import FairShare
from worker.engine.graphs import GraphBatch
from worker.engine.memory import OutOfMemory, Room, is_out_of_memory
from worker.engine.precision import Plan
from worker.engine.weights import Weights
from worker.engine.work import (
    Event,
    ImageDone,
    Preview,
    Row,
    Started,
    Work,
    WorkDone,
    WorkFailed,
)

log = logging.getLogger("emaki.worker")
_FAILURES_IN_COMPANY = 3
_PAUSE = 0.001  # seconds between two looks, when only pictures are on their way


@dataclass(frozen=True)
class LastStep:
    """What the last step was of: rows, their places, and how many the network computed for them."""

    rows: int = 0
    places: int = 0
    computed: int = 0


def _unheard(_ids: tuple[str, ...]) -> None:
    pass


class Engine:
    """Holds every running work and advances them, a step at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._cores = Cores(plan.cores)
        self.steps = self.landed = 0  # steps made, and those whose pictures are there
        self.last = LastStep()
        self._share: FairShare[Row] = FairShare()
        self._works: dict[str, _Progress] = {}
        self._probing: list[str] = []  # works to be tried alone, after a step of theirs failed
        self._batches: WeakKeyDictionary[Weights, Batch] = WeakKeyDictionary()
        self._flying: dict[Batch, deque[tuple[Outcome, list[_Note]]]] = {}  # steps not yet told
        self._rooms: WeakKeyDictionary[Weights, Room] = WeakKeyDictionary()

    @property
    def capacity(self) -> int:
        """Places that a step has now, whichever model it is of."""
        drawn = {progress.work.weights for progress in list(self._works.values())}
        rooms = [self._rooms[weights].places for weights in drawn if weights in self._rooms]
        return min(rooms, default=self._plan.capacity)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to advance, nor to tell."""
        return not (self._works or self._flying)

    @property
    def demand(self) -> int:
        """Places that all unfinished rows would take together."""
        return self._share.demand

    def row_steps(self, id_: str) -> int:
        """Image-steps made so far for a work; 0 once it is gone."""
        progress = self._works.get(id_)
        return progress.row_steps if progress else 0

    def evaluations(self, id_: str) -> int:
        """Network evaluations made so far for a work, of its `Work.evaluations`."""
        progress = self._works.get(id_)
        return progress.evaluations if progress else 0

    def add(self, work: Work) -> None:
        """Take a work in; its rows join at the next step that has places.

        Raises:
            ValueError: it is here already, or its weights cannot draw it.
        """
        if work.id in self._works:
            raise ValueError(f"work {work.id} is running already")
        rows = work.rows()
        self._works[work.id] = _Progress(work, unfinished=len(rows))
        kind = work.id if work.isolated else work.weights
        items = [(row, row.places) for row in rows]
        self._share.add(work.owner, work.id, items, kind=kind, weight=work.weight)

    def cancel(self, id_: str) -> bool:
        """Drop a work at once; False if it is not here."""
        progress = self._works.pop(id_, None)
        if progress is None:
            return False
        batch = self._batches.get(progress.work.weights)
        for row in self._share.remove(id_):
            if batch is not None:
                batch.release(row)
        self._forget(id_)
        return True

    @torch.inference_mode()
    def step(self, *, drawing: Callable[[tuple[str, ...]], None] = _unheard) -> list[Event]:
        """Advance as many rows as fit, of the weights whose turn it is.

        Args:
            drawing: told the works of the step before the network is evaluated.

        Returns:
            What happened, in order.
        """
        if not self._works:
            events = self._land()
            if not events:
                time.sleep(_PAUSE)
            return events
        chosen = self._choose()
        rows = [row for job in chosen.values() for row in job]
        drawing(tuple(chosen))
        self.steps += 1
        weights = rows[0].work.weights
        places = [row.places for row in rows]
        pieces = self._cut(sum(places), weights)
        self.last = LastStep(rows=len(rows), places=sum(places), computed=pieces.computed)
        self._share.charge(chosen, pieces.computed)
        try:
            batch = self.prepare(weights)
            outcome = batch.advance(rows, pieces)
        except Exception as error:  # noqa: BLE001 - whatever it was, find out whose it is
            return self._failed(tuple(chosen), weights, error)
        self._room(weights).step_went_well()
        self._flying.setdefault(batch, deque()).append((outcome, self._note(rows, places)))
        return self._land()

    def prepare(self, weights: Weights) -> Batch:
        """Ready what these weights' steps need; in any thread, before their first work comes."""
        if weights not in self._batches:
            sizes = weights.sizes or self._plan.sizes
            if self._plan.graphs:
                self._batches[weights] = GraphBatch(weights, self._cores, sizes)
            else:
                self._batches[weights] = Batch(weights, self._cores)
        return self._batches[weights]

    def _choose(self) -> dict[str, list[Row]]:
        """Rows by work: of a work that is probed, else of all that may share the next step."""
        job = self._probing[0] if self._probing else self._share.next_job()
        capacity = self._room(self._works[job].work.weights).places
        if self._probing:
            return self._share.items_of(job, capacity)
        return self._share.fill(job, capacity)

    def _cut(self, places: int, weights: Weights) -> Cut:
        sizes = weights.sizes or self._plan.sizes
        if self._plan.graphs:  # a graph is a whole step
            sizes = (next(size for size in sizes if size >= places),)
        return cut(places, sizes, self._plan.cores)

    def _note(self, rows: list[Row], places: list[int]) -> list["_Note"]:
        """Account for a step that was made, of so many places each."""
        notes = []
        for row, taken in zip(rows, places, strict=True):
            id_, progress = row.work.id, self._works[row.work.id]
            started = progress.row_steps == 0
            progress.row_steps += 1
            progress.evaluations += taken
            if row.finished:
                self._share.done(id_, row)
                self._batches[row.work.weights].release(row)
                progress.unfinished -= 1
                if progress.unfinished == 0:
                    del self._works[id_]
                    self._forget(id_)
            elif row.places != taken:  # guidance begins or ends here
                self._share.resize(id_, row, row.places)
            notes.append(_Note(row, row.k, started=started, ended=id_ not in self._works))
        if self._probing and rows[0].work.id == self._probing[0]:
            self._probing.pop(0)  # it did well alone
        return notes

    def _land(self) -> list[Event]:
        """Tell of steps whose pictures are there, each model's in order; wait if too many are not.

        Models do not wait for one another: some pictures take long to decode.
        """
        events: list[Event] = []
        for batch, flying in list(self._flying.items()):
            while flying and (flying[0][0].ready or len(flying) > batch.most_in_flight):
                outcome, notes = flying.popleft()
                self.landed += 1
                for note, seen in zip(notes, outcome.shown(), strict=True):
                    events += note.told(seen)
                    if isinstance(seen.picture, Exception):
                        self.cancel(note.row.work.id)
            if not flying:
                del self._flying[batch]
        return events

    def _failed(self, ids: tuple[str, ...], weights: Weights, error: Exception) -> list[Event]:
        """Decide what a step that raised means for its works.

        Raises:
            AcceleratorError: the device is broken for this process, and no work is to blame.
        """
        if isinstance(error, torch.AcceleratorError):
            raise error
        if is_out_of_memory(error):
            if weights.device.type == "cuda":
                torch.cuda.empty_cache()
            room = self._room(weights)
            # Where chunks have one size, fewer at least need less beside the network.
            if room.ran_out(smaller=self.last.places // 2):
                log.warning("out of memory; at most %d places a step for now", room.places)
                return []
            error = OutOfMemory(
                f"no memory to evaluate {weights.version} at {self.last.computed} places, the "
                "fewest that a step can have; free some, or let fewer models share it"
            )
        if len(ids) == 1:
            self.cancel(ids[0])
            return [WorkFailed(ids[0], error)]
        log.warning("a step of %d requests failed (%s); trying each alone", len(ids), error)
        for id_ in ids:
            progress = self._works[id_]
            progress.failures += 1
            if progress.failures >= _FAILURES_IN_COMPANY:
                self._share.regroup(id_, id_)  # it fails only in company: finish it without
        self._probing = list(ids)
        return []

    def _forget(self, id_: str) -> None:
        if id_ in self._probing:
            self._probing.remove(id_)

    def _room(self, weights: Weights) -> Room:
        if weights not in self._rooms:
            most = self._plan.capacity
            if self._plan.graphs:
                most = min(most, (weights.sizes or self._plan.sizes)[-1])
            self._rooms[weights] = Room(most)
        return self._rooms[weights]


@dataclass(frozen=True)
class _Note:
    """That a row was moved: it stood at step ``k`` then."""

    row: Row
    k: int
    started: bool
    ended: bool

    def told(self, seen: Shown) -> list[Event]:
        """What came of it."""
        row, id_ = self.row, self.row.work.id
        events: list[Event] = [Started(id_)] if self.started else []
        if seen.frame is not None:
            row.frames.append(seen.frame)
        if seen.preview is not None:
            events.append(Preview(id_, row.index, self.k, seen.preview))
        if isinstance(seen.picture, Exception):
            return [*events, WorkFailed(id_, seen.picture)]
        if seen.picture is not None:
            paste = row.work.paste
            picture = seen.picture if paste is None else paste.over(seen.picture)
            if self.k in row.moments:
                row.frames.append(picture)
            events.append(ImageDone(id_, row.index, picture, tuple(row.frames)))
        if self.ended:
            events.append(WorkDone(id_))
        return events


@dataclass
class _Progress:
    work: Work
    unfinished: int
    row_steps: int = 0
    evaluations: int = 0
    failures: int = 0
