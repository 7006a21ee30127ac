"""One model's rows on the device, each in a slot of its own, and the arithmetic of a step.

A step happens for all its rows or, if it raises, for none: whatever can fail (the network, noise,
pictures for people) comes first, on copies; then one operation writes every row's new state.

Shapes: n rows of (C, H, W), evaluated at b positions; slots are (S, 2, C, H, W), their conditions
(S, 2, ...). A row's *position* is where the network computes it; a guided row has two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.cores import Cores
from models.guidance import guide
from models.noise import normal
from models.sample import to_uint8
from models.step import Coefficients, advance
from worker.engine.chunks import Cut
from worker.engine.weights import Weights
from worker.engine.work import Pixels, Row

_FIRST_SLOTS = 16
_NOISE_AHEAD = 16  # images of noise that are drawn at once, at least
_D = 6  # the column of a row's table that scales the step's noise
_X, _ESTIMATE = 0, 1  # the two halves of a slot
_OWN, _NULL = 0, 1  # the two conditions of a row


@dataclass(frozen=True)
class Shown:
    """What a step has shown of a row; None where nobody wanted to see it.

    Attributes:
        frame: of its strip, before the step.
        picture: the finished image.
        preview: the estimate of it.
    """

    frame: Pixels | None = None
    picture: Pixels | None = None
    preview: Pixels | None = None


class Batch:
    """The rows of one model that have begun."""

    def __init__(self, weights: Weights, cores: Cores) -> None:
        self._weights, self._cores = weights, cores
        self._slots, self._conditions = self._room_for(_FIRST_SLOTS)
        self._free = list(range(_FIRST_SLOTS))

    def release(self, row: Row) -> None:
        """A row needs its slot no more."""
        if row.slot is not None:
            self._free.append(row.slot)
            row.slot = None

    def advance(self, rows: Sequence[Row], cut: Cut) -> list[Shown]:
        """Move every row one step on; what is to be seen of each.

        Args:
            cut: of the rows' places.
        """
        self._begin([row for row in rows if row.slot is None])
        device = self._weights.device
        slots = torch.tensor([row.slot for row in rows], device=device)
        before, previous = self._slots[slots].unbind(1)
        now = np.stack([row.columns[row.k] for row in rows])
        t, p, q, a, b, c, d = torch.from_numpy(now).to(device).unbind(1)
        bound = torch.tensor(
            [1.0 if row.work.clip else float("inf") for row in rows], device=device
        )
        output = self._evaluate(rows, before, t, slots, cut)
        k = Coefficients(p, q, a, b, c, d, bound)
        x, estimate = advance(before, output, previous, None, k)

        noisy = [i for i in range(len(rows)) if now[i, _D] != 0]
        if noisy:
            # Only these rows: a row without noise keeps its bits whoever its neighbours are.
            index = torch.tensor(noisy, device=device)
            z = _step_noise([rows[i] for i in noisy], self._weights)
            x[index] += d[index, None, None, None] * z

        frames = _pixels(before, [row.k in row.moments for row in rows])
        pictures = _pixels(x, [row.last for row in rows])
        previews = _pixels(estimate, [row.previewed for row in rows])
        self._slots.index_copy_(0, slots, torch.stack([x, estimate], 1))
        for row in rows:
            row.noise.pop(row.k, None)
            row.k += 1
        return [Shown(*shown) for shown in zip(frames, pictures, previews, strict=True)]

    def _begin(self, fresh: list[Row]) -> None:
        """Give rows slots, with their first noise and their conditions in them."""
        if not fresh:
            return
        missing = len(fresh) - len(self._free)
        if missing > 0:
            old = len(self._slots)
            slots, conditions = self._room_for(max(2 * old, old + missing))
            slots[:old], conditions[:old] = self._slots, self._conditions
            self._slots, self._conditions = slots, conditions
            self._free += range(old, len(slots))
        chosen = self._free[-len(fresh) :]
        noise = _noise([(row, 0) for row in fresh], self._weights)
        # A new row has no estimate yet: zeros, for what its slot held before may be NaN.
        state = torch.stack([noise, torch.zeros_like(noise)], 1)
        where = torch.tensor(chosen, device=self._weights.device)
        if self._weights.condition is not None:
            conditions = torch.stack([self._pair(row) for row in fresh])
            self._conditions.index_copy_(0, where, conditions.to(self._weights.device))
        self._slots.index_copy_(0, where, state)
        del self._free[-len(fresh) :]
        for row, slot in zip(fresh, chosen, strict=True):
            row.slot = slot

    def _pair(self, row: Row) -> Tensor:
        """What a row is drawn for, and its counterpart: (2, ...)."""
        assert self._weights.condition is not None
        null = self._weights.condition.null
        own = null if row.condition is None else row.condition
        assert own is not None, "refused when it came"
        return torch.stack([own, own if null is None else null])

    def _room_for(self, slots: int) -> tuple[Tensor, Tensor]:
        w = self._weights
        states = torch.zeros((slots, 2, *w.shape), device=w.device)
        if w.condition is None:
            return states, torch.zeros((slots, 2), device=w.device)
        shape, dtype = w.condition.shape, w.condition.dtype
        return states, torch.zeros((slots, 2, *shape), dtype=dtype, device=w.device)

    def _evaluate(
        self, rows: Sequence[Row], x: Tensor, t: Tensor, slots: Tensor, cut: Cut
    ) -> Tensor:
        """The network's output for each row, guidance applied: (n, C, H, W) float32.

        Places 0 ... n-1 are the rows'; then comes each guided row once more, unconditionally.
        """
        w, n = self._weights, len(rows)
        twice = [i for i, row in enumerate(rows) if row.guided]
        row_of = np.concatenate([np.arange(n), np.array(twice, dtype=np.int64)])[cut.slots]
        source = torch.from_numpy(row_of).to(w.device)
        conditions = None
        if w.condition is not None:
            which = torch.from_numpy((cut.slots >= n).astype(np.int64)).to(w.device)
            conditions = self._conditions[slots[source], which]
        outputs = self._chunks(x[source].to(w.dtype), t[source], conditions, cut)
        where = torch.from_numpy(cut.where).to(w.device)
        output = outputs[where[:n]].float()
        if twice:
            guided = torch.tensor(twice, device=w.device)
            scale = torch.tensor([rows[i].work.guidance_scale for i in twice], device=w.device)
            output[guided] = guide(outputs[where[n:]].float(), output[guided], scale)
        return output

    def _chunks(self, x: Tensor, t: Tensor, conditions: Tensor | None, cut: Cut) -> Tensor:
        """The network at every position, each core its own share: (b, C, H, W)."""

        def share(slices: list[slice]) -> list[Tensor]:
            with torch.inference_mode():  # of this thread
                return [
                    self._weights.forward(
                        x[part], t[part], None if conditions is None else conditions[part]
                    )
                    for part in slices
                ]

        shares = self._cores.map(share, _slices(cut))
        return torch.cat([output for outputs in shares for output in outputs])


def _slices(cut: Cut) -> Iterator[list[slice]]:
    """Each core's chunks, as slices of the positions."""
    start = 0
    for sizes in cut.shares:
        slices = []
        for size in sizes:
            slices.append(slice(start, start + size))
            start += size
        yield slices


def _pixels(images: Tensor, wanted: list[bool]) -> list[Pixels | None]:
    """The wanted ones of (n, C, H, W) as (H, W, C) uint8, None in place of the others."""
    places = [i for i, want in enumerate(wanted) if want]
    if not places:
        return [None] * len(wanted)
    shown = iter(to_uint8(images[places]).permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return [next(shown) if want else None for want in wanted]


def _step_noise(rows: list[Row], weights: Weights) -> Tensor:
    """The noise of each row's present step: (n, C, H, W)."""
    ahead = max(1, _NOISE_AHEAD // len(rows))
    missing = [
        (row, step)
        for row in rows
        if row.k not in row.noise
        for step in range(row.k, min(row.k + ahead, len(row.columns) - 1))
    ]
    if missing:
        drawn = _noise([(row, step + 1) for row, step in missing], weights)
        for (row, step), z in zip(missing, drawn, strict=True):
            row.noise[step] = z
    return torch.stack([row.noise[row.k] for row in rows])


def _noise(wanted: list[tuple[Row, int]], weights: Weights) -> Tensor:
    """Noise by row and index (0: x_T; k + 1: step k), in one go: (len(wanted), C, H, W)."""
    device = weights.device
    seeds = torch.tensor([row.work.seeds[row.index] for row, _ in wanted], device=device)
    index = torch.tensor([index for _, index in wanted], device=device)
    return normal(seeds, index, weights.shape)
