"""What a step needs to know of its rows, in one buffer that goes to the device at once.

Shapes: R rows, evaluated at B positions; a guided row has two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.engine.chunks import Cut
from worker.engine.work import Row

_NUMBERS = 5  # int64, one a row each
_COLUMNS = 9  # float32, one a row each
_NOISE_SCALE = 6


@dataclass(frozen=True)
class Staged:
    """Views of the buffer.

    Attributes:
        slot: (R,) where its pixels are.
        seed, noise: (R,) of its noise: `models.noise`'s seed and index.
        own, null: (R,) the positions of its evaluations; the same where it has one.
        source, which: (B,) the row that is computed there, and for which of its conditions.
        columns: (9, R) float32: t, p, q, a, b, c, d of the row's step, bound, guidance scale.
    """

    slot: Tensor
    seed: Tensor
    noise: Tensor
    own: Tensor
    null: Tensor
    source: Tensor
    which: Tensor
    columns: Tensor

    @classmethod
    def over(cls, buffer: Tensor, rows: int, positions: int) -> "Staged":
        """Views of ``buffer``, which has `size` bytes."""
        whole = 8 * (_NUMBERS * rows + 2 * positions)
        numbers = buffer[:whole].view(torch.int64)
        lengths = [rows] * _NUMBERS + [positions] * 2
        slot, seed, noise, own, null, source, which = torch.split(numbers, lengths)
        columns = buffer[whole:].view(torch.float32).view(_COLUMNS, rows)
        return cls(slot, seed, noise, own, null, source, which, columns)

    @staticmethod
    def size(rows: int, positions: int) -> int:
        """Bytes."""
        return 8 * (_NUMBERS * rows + 2 * positions) + 4 * _COLUMNS * rows

    @property
    def noisy(self) -> bool:
        """Whether some row's step adds noise; to be asked on the host only."""
        return bool(self.columns[_NOISE_SCALE].any())

    def fill(self, rows: Sequence[Row], cut: Cut, *, spare: int = 0) -> None:
        """Write what a step of these rows needs; what is left over computes the slot ``spare``.

        Args:
            cut: of the rows' places; places 0 ... n-1 are the rows', then comes each guided row
                once more, unconditionally.
        """
        n = len(rows)
        twice = [i for i, row in enumerate(rows) if row.guided]
        row_of = np.array([*range(n), *twice], dtype=np.int64)
        _array(self.source)[:] = row_of[cut.slots]
        _array(self.which)[:] = cut.slots >= n
        own, null = _array(self.own), _array(self.null)
        own[:n] = null[:n] = cut.where[:n]
        null[twice] = cut.where[n:]
        _array(self.slot)[:n] = [row.slot for row in rows]
        _array(self.seed)[:n] = [row.work.seeds[row.index] for row in rows]
        _array(self.noise)[:n] = [row.k + 1 for row in rows]
        columns = _array(self.columns)
        columns[:7, :n] = np.stack([row.columns[row.k] for row in rows], axis=1)
        columns[7, :n] = [1.0 if row.work.clip else np.inf for row in rows]
        columns[8, :n] = [row.work.guidance_scale for row in rows]
        if n < len(own):
            own[n:] = null[n:] = 0
            _array(self.slot)[n:] = spare
            columns[:, n:] = 0


def _array(tensor: Tensor) -> Any:
    """The same memory, as numpy writes it."""
    return tensor.numpy()
