"""One model's rows on the device, each in a slot of its own, and the arithmetic of a step.

A step happens for all its rows or, if it raises, for none: whatever can fail (the network, noise,
pictures for people) comes first, on copies; then one operation writes every row's new state.

Shapes: n rows of (C, H, W) in a batch padded to b places; slots are (S, 2, C, H, W).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.guidance import guide
from models.noise import normal
from models.sample import to_uint8
from models.step import Coefficients, advance
from worker.engine.work import Pixels, Row, Weights

_FIRST_SLOTS = 16
_NOISE_AHEAD = 16  # images of noise that are drawn at once, at least
_D = 6  # the column of a row's table that scales the step's noise
_X, _ESTIMATE = 0, 1  # the two halves of a slot


@dataclass(frozen=True)
class Shown:
    """What a step has shown of a row; None where nobody wanted to see it.

    Attributes:
        picture: the finished image.
        preview: the estimate of it.
    """

    picture: Pixels | None = None
    preview: Pixels | None = None


class Batch:
    """The rows of one model that have begun."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._slots = self._room_for(_FIRST_SLOTS)
        self._free = list(range(_FIRST_SLOTS))

    def release(self, row: Row) -> None:
        """A row needs its slot no more."""
        if row.slot is not None:
            self._free.append(row.slot)
            row.slot = None

    def advance(self, rows: list[Row], *, bucket: int) -> list[Shown]:
        """Move every row one step on; what is to be seen of each."""
        self._begin([row for row in rows if row.slot is None])
        device = self._weights.device
        slots = torch.tensor([row.slot for row in rows], device=device)
        before, previous = self._slots[slots].unbind(1)
        now = np.stack([row.columns[row.k] for row in rows])
        t, p, q, a, b, c, d = torch.from_numpy(now).to(device).unbind(1)
        bound = torch.tensor(
            [1.0 if row.work.clip else float("inf") for row in rows], device=device
        )
        output = self._evaluate(rows, before, t, bucket)
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
        for row, frame, picture in zip(rows, frames, pictures, strict=True):
            if frame is not None:
                row.frames.append(frame)
            row.noise.pop(row.k, None)
            row.k += 1
            if picture is not None and row.k in row.moments:
                row.frames.append(picture)
        return [Shown(*shown) for shown in zip(pictures, previews, strict=True)]

    def _begin(self, fresh: list[Row]) -> None:
        """Give rows slots, with their first noise in them."""
        if not fresh:
            return
        missing = len(fresh) - len(self._free)
        if missing > 0:
            old = len(self._slots)
            slots = self._room_for(max(2 * old, old + missing))
            slots[:old] = self._slots
            self._slots = slots
            self._free += range(old, len(slots))
        chosen = self._free[-len(fresh) :]
        noise = _noise([(row, 0) for row in fresh], self._weights)
        # A new row has no estimate yet: zeros, for what its slot held before may be NaN.
        state = torch.stack([noise, torch.zeros_like(noise)], 1)
        self._slots.index_copy_(0, torch.tensor(chosen, device=self._weights.device), state)
        del self._free[-len(fresh) :]
        for row, slot in zip(fresh, chosen, strict=True):
            row.slot = slot

    def _room_for(self, slots: int) -> Tensor:
        return torch.zeros((slots, 2, *self._weights.shape), device=self._weights.device)

    def _evaluate(self, rows: list[Row], x: Tensor, t: Tensor, bucket: int) -> Tensor:
        """The network's output for each row, guidance applied: (n, C, H, W) float32.

        Places 0 ... n-1 hold the rows; then each guided row once more, unconditionally; then
        padding.
        """
        w, n = self._weights, len(rows)
        twice = [i for i, row in enumerate(rows) if row.guided]
        again = torch.tensor(twice, dtype=torch.int64, device=w.device)
        x_in = torch.zeros((bucket, *w.shape), dtype=w.dtype, device=w.device)
        t_in = torch.zeros(bucket, device=w.device)
        x_in[:n], t_in[:n] = x, t
        if twice:
            end = n + len(twice)
            x_in[n:end], t_in[n:end] = x[again], t[again]
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
