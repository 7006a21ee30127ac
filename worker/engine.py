"""The engine: rows of different requests advance together, one network evaluation at a time.

A row is one image of one request. Each `step()` picks rows fairly, evaluates the network once for
all of them, and moves each along its own sampler's table. A row takes two places in the network's
batch when it is guided, one otherwise. Rows own their state, so a row can pause and go on at any
step, and its picture never depends on who shared the batch.

Knows torch and `models`; knows no Redis, RQ, HTTP, files or threads.
Shapes: n rows of (C, H, W) in a batch padded to b places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.noise import normal
from models.sample import to_uint8
from models.sampler import Table, guided
from models.step import Coefficients, advance, guide
from worker.fairness import FairShare

Pixels = npt.NDArray[np.uint8]
Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class Weights:
    """One version of one model, ready to run.

    Attributes:
        forward: (b, C, H, W), (b,) float32 t, (b,) int64 labels or None -> (b, C, H, W).
        null_class: the unconditional label; None where there is none.
        classes: whether ``forward`` wants labels.
    """

    version: str
    forward: Forward
    shape: tuple[int, int, int]
    classes: bool
    null_class: int | None
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True, eq=False)
class Work:
    """One request: what to draw, with which weights and table.

    Attributes:
        owner: who shares with whom; all works of one owner share that owner's part.
        seeds, labels: one per image; a label of None draws without a class.
    """

    id: str
    owner: str
    weights: Weights
    table: Table
    seeds: tuple[int, ...]
    labels: tuple[int | None, ...]
    guidance_scale: float = 1.0
    clip: bool = True


@dataclass(frozen=True)
class Started:
    """The first step of a work has been made."""

    id: str


@dataclass(frozen=True)
class ImageDone:
    """An image is finished; ``pixels`` is (H, W, C) uint8."""

    id: str
    index: int
    pixels: Pixels


@dataclass(frozen=True)
class WorkDone:
    """All images of a work are finished."""

    id: str


@dataclass(frozen=True)
class WorkFailed:
    """A work cannot go on."""

    id: str
    error: Exception


Event = Started | ImageDone | WorkDone | WorkFailed


@dataclass(eq=False)
class Row:
    """One image in the making; ``x`` and ``previous`` are (C, H, W), None before the first step."""

    work: Work
    index: int
    columns: npt.NDArray[np.float32]
    k: int = 0
    x: Tensor | None = None
    previous: Tensor | None = None

    @property
    def label(self) -> int | None:
        """The class to draw, None where guidance 0 or no class makes it unconditional."""
        return None if self.work.guidance_scale == 0 else self.work.labels[self.index]

    @property
    def guided(self) -> bool:
        """Whether the row needs a second, unconditional evaluation."""
        return guided(self.work.guidance_scale, conditional=self.label is not None)

    @property
    def places(self) -> int:
        """Places taken in the network's batch."""
        return 2 if self.guided else 1


class Engine:
    """Holds every running work and advances them, a step at a time.

    Args:
        buckets: sizes that the network's batch is padded to, rising; the last is the capacity.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[-1] < 2:
            raise ValueError(f"buckets {list(buckets)} are not rising sizes that end at 2 or more")
        self.buckets = tuple(buckets)
        self.steps = 0
        self._shares: dict[Weights, FairShare[Row]] = {}
        self._batches: dict[Weights, _Batch] = {}
        self._works: dict[str, _Progress] = {}

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
        return sum(share.demand for share in self._shares.values())

    def row_steps(self, id_: str) -> int:
        """Image-steps made so far for a work; 0 once it is gone."""
        progress = self._works.get(id_)
        return progress.row_steps if progress else 0

    def add(self, work: Work) -> None:
        """Take a work in; its rows join at the next step that has places."""
        if work.id in self._works:
            raise ValueError(f"work {work.id} is running already")
        if work.weights.null_class is None and work.weights.classes:
            conditional = all(label is not None for label in work.labels)
            if not conditional or work.guidance_scale != 1:
                raise ValueError(f"{work.weights.version} has no null class to draw without one")
        t = work.table
        columns = np.stack([t.t, t.p, t.q, t.a, t.b, t.c, t.d], axis=1).astype(np.float32)
        rows = [Row(work, index, columns) for index in range(len(work.seeds))]
        self._works[work.id] = _Progress(rows=len(rows))
        share = self._shares.setdefault(work.weights, FairShare())
        share.add(work.owner, work.id, [(row, row.places) for row in rows])

    def cancel(self, id_: str) -> bool:
        """Drop a work at once; False if it is not here."""
        if self._works.pop(id_, None) is None:
            return False
        for share in self._shares.values():
            share.remove(id_)
        self._forget_idle_weights()
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Advance as many rows as fit, of one model's weights; models take turns.

        Returns:
            What happened, in order. A failure of the network fails every work in its batch.
        """
        if not self._shares:
            return []
        weights, share = next(iter(self._shares.items()))
        self._shares[weights] = self._shares.pop(weights)  # to the end of the line
        rows = share.choose(self.capacity)
        self.steps += 1
        try:
            finished = self._batches.setdefault(weights, _Batch(weights)).advance(
                rows, bucket=self._bucket(rows)
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, these works cannot go on
            ids = list(dict.fromkeys(row.work.id for row in rows))
            for id_ in ids:
                self.cancel(id_)
            return [WorkFailed(id_, error) for id_ in ids]
        return self._account(share, rows, finished)

    def _account(
        self, share: FairShare[Row], rows: list[Row], finished: dict[Row, Pixels]
    ) -> list[Event]:
        events: list[Event] = []
        for row in rows:
            id_ = row.work.id
            progress = self._works[id_]
            if progress.row_steps == 0:
                events.append(Started(id_))
            progress.row_steps += 1
            if row in finished:
                share.done(id_, row)
                events.append(ImageDone(id_, row.index, finished[row]))
                progress.rows -= 1
                if progress.rows == 0:
                    del self._works[id_]
                    events.append(WorkDone(id_))
        if finished:
            self._forget_idle_weights()
        return events

    def _bucket(self, rows: list[Row]) -> int:
        places = sum(row.places for row in rows)
        return next(size for size in self.buckets if size >= places)

    def _forget_idle_weights(self) -> None:
        for weights in [w for w, share in self._shares.items() if share.demand == 0]:
            del self._shares[weights]
            self._batches.pop(weights, None)


@dataclass
class _Progress:
    rows: int
    row_steps: int = 0


class _Batch:
    """The rows of one model that ran in the last step, stacked; restacked when they change."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._rows: list[Row] = []
        self._x = self._previous = torch.empty(0)

    def advance(self, rows: list[Row], *, bucket: int) -> dict[Row, Pixels]:
        """Move every row one step on; returns the finished ones' pixels."""
        if rows != self._rows:
            self._stack(rows)
        device = self._weights.device
        now = np.stack([row.columns[row.k] for row in rows])
        t, p, q, a, b, c, d = torch.from_numpy(now).to(device).unbind(1)
        bound = [1.0 if row.work.clip else float("inf") for row in rows]
        output = self._evaluate(rows, t, bucket)
        coefficients = Coefficients(p, q, a, b, c, d, torch.tensor(bound, device=device))
        self._x, self._previous = advance(self._x, output, self._previous, None, coefficients)

        noisy = [i for i, row in enumerate(rows) if now[i, 6] != 0]
        if noisy:
            # Only these rows: a row without noise keeps its bits whoever its neighbours are.
            index = torch.tensor(noisy, device=device)
            z = self._noise([rows[i] for i in noisy], first=False)
            self._x[index] += d[index, None, None, None] * z

        for row in rows:
            row.k += 1
        ended = [i for i, row in enumerate(rows) if row.k == row.work.table.steps]
        if not ended:
            return {}
        pixels = to_uint8(self._x[ended]).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return {rows[i]: picture for i, picture in zip(ended, pixels, strict=True)}

    def _stack(self, rows: list[Row]) -> None:
        for i, row in enumerate(self._rows):
            row.x, row.previous = self._x[i], self._previous[i]
        fresh = [row for row in rows if row.x is None]
        if fresh:
            for row, x in zip(fresh, self._noise(fresh, first=True), strict=True):
                row.x, row.previous = x, torch.zeros_like(x)
        self._x = torch.stack([row.x for row in rows if row.x is not None])
        self._previous = torch.stack([row.previous for row in rows if row.previous is not None])
        self._rows = list(rows)

    def _noise(self, rows: list[Row], *, first: bool) -> Tensor:
        device = self._weights.device
        seeds = torch.tensor([row.work.seeds[row.index] for row in rows], device=device)
        index = torch.tensor([0 if first else row.k + 1 for row in rows], device=device)
        return normal(seeds, index, self._weights.shape)

    def _evaluate(self, rows: list[Row], t: Tensor, bucket: int) -> Tensor:
        """The network's output for each row, guidance applied: (n, C, H, W) float32.

        Places 0 ... n-1 hold the rows; then each guided row once more, unconditionally; then
        padding.
        """
        w, n = self._weights, len(rows)
        twice = [i for i, row in enumerate(rows) if row.guided]
        again = torch.tensor(twice, dtype=torch.int64, device=w.device)
        x_in = torch.zeros((bucket, *w.shape), dtype=w.dtype, device=w.device)
        t_in = torch.zeros(bucket, device=w.device)
        x_in[:n], t_in[:n] = self._x, t
        if twice:
            end = n + len(twice)
            x_in[n:end], t_in[n:end] = self._x[again], t[again]
        labels = None
        if w.classes:
            null = 0 if w.null_class is None else w.null_class
            own = [null if row.label is None else row.label for row in rows]
            labels = torch.tensor(own + [null] * (bucket - n), device=w.device)
        output = w.forward(x_in, t_in, labels).float()
        if not twice:
            return output[:n]
        scale = torch.tensor([rows[i].work.guidance_scale for i in twice], device=w.device)
        result = output[:n].clone()
        result[again] = guide(output[n : n + len(twice)], result[again], scale)
        return result
