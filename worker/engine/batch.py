"""One model's rows as one padded batch: the arithmetic of a step.

A step either happens for all its rows or, if it raises, for none: nothing is changed before the
last value is computed. Shapes: n rows of (C, H, W) in a batch padded to b places.
"""

import numpy as np
import torch
from torch import Tensor

from models.noise import normal
from models.sample import to_uint8
from models.step import Coefficients, advance, guide
from worker.engine.work import Pixels, Row, Weights

_NOISE_AHEAD = 16  # images of noise that are drawn at once, at least
_D = 6  # the column of a row's table that scales the step's noise


class Batch:
    """The rows that ran in the last step, stacked; restacked when the rows change."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._rows: list[Row] = []
        self._x = self._previous = torch.empty(0)

    def advance(self, rows: list[Row], *, bucket: int) -> None:
        """Move every row one step on."""
        if rows != self._rows:
            self._stack(rows)
        device = self._weights.device
        now = np.stack([row.columns[row.k] for row in rows])
        t, p, q, a, b, c, d = torch.from_numpy(now).to(device).unbind(1)
        bound = torch.tensor(
            [1.0 if row.work.clip else float("inf") for row in rows], device=device
        )
        output = self._evaluate(rows, t, bucket)
        k = Coefficients(p, q, a, b, c, d, bound)
        x, estimate = advance(self._x, output, self._previous, None, k)

        noisy = [i for i in range(len(rows)) if now[i, _D] != 0]
        if noisy:
            # Only these rows: a row without noise keeps its bits whoever its neighbours are.
            index = torch.tensor(noisy, device=device)
            z = _step_noise([rows[i] for i in noisy], self._weights)
            x[index] += d[index, None, None, None] * z

        shown = self.pixels([i for i, row in enumerate(rows) if row.k in row.moments])
        self._x, self._previous = x, estimate
        for row in rows:
            if row.k in row.moments:
                row.frames.append(shown.pop(0))
            row.noise.pop(row.k, None)
            row.k += 1

    def pixels(self, places: list[int], *, estimates: bool = False) -> list[Pixels]:
        """Rows by their place, as (H, W, C) uint8: x, or the estimates of x_0."""
        if not places:
            return []
        images = (self._previous if estimates else self._x)[places]
        return list(to_uint8(images).permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def _stack(self, rows: list[Row]) -> None:
        for i, row in enumerate(self._rows):
            row.x, row.previous = self._x[i], self._previous[i]
        fresh = [row for row in rows if row.x is None]
        if fresh:
            noise = _noise([(row, 0) for row in fresh], self._weights)
            for row, x in zip(fresh, noise, strict=True):
                row.x, row.previous = x, torch.zeros_like(x)
        self._x = torch.stack([row.x for row in rows if row.x is not None])
        self._previous = torch.stack([row.previous for row in rows if row.previous is not None])
        self._rows = list(rows)

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
