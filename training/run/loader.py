"""Batches for the loop: which pictures, in which order, brought to the device ahead of time.

A batch depends on (seed, step) alone. Shapes: B pictures of (C, H, W), uint8; or their latents.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.encoding.inputs import Inputs

Indices = npt.NDArray[np.int64]
_AHEAD = 3


class EpochOrder:
    """An endless stream of indices: each epoch is its own permutation of the data.

    With ``weights`` an epoch shows picture i so many times: its weight's whole part, and once more
    in so many of the epochs as the rest says. Of pictures with the same weight that is exact.
    """

    def __init__(
        self, count: int, seed: int, weights: npt.NDArray[np.float64] | None = None
    ) -> None:
        self._seed = seed
        self._epochs: dict[int, Indices] = {}
        self._always = np.arange(count)
        self._sometimes: list[tuple[Indices, int]] = []
        if weights is not None:
            whole = np.floor(weights).astype(np.int64)
            self._always = np.repeat(self._always, whole)
            for weight in np.unique(weights[weights > whole]):
                alike = np.flatnonzero(weights == weight)
                share = max(1, round(float(weight % 1) * len(alike)))
                self._sometimes.append((alike, share))
        self._count = len(self._always) + sum(some for _, some in self._sometimes)

    def batch(self, step: int, size: int) -> Indices:
        """Indices of batch ``step``; batches run on across the ends of epochs."""
        positions = np.arange(step * size, (step + 1) * size)
        epochs = positions // self._count
        needed = set(epochs.tolist())
        self._epochs = {
            e: self._epochs[e] if e in self._epochs else self._permutation(e) for e in needed
        }
        return np.concatenate(
            [self._epochs[e][positions[epochs == e] % self._count] for e in sorted(needed)]
        )

    def _permutation(self, epoch: int) -> Indices:
        random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        if not self._sometimes:
            return random.permutation(self._always)
        some = [random.choice(alike, count, replace=False) for alike, count in self._sometimes]
        return random.permutation(np.concatenate([self._always, *some]))


class Loader:
    """Gathers batches from mapped pictures in a thread of its own, a few steps ahead."""

    def __init__(
        self, data: Inputs, *, batch_size: int, seed: int, device: torch.device, rows: slice
    ) -> None:
        """``rows``: the part of each batch of ``batch_size`` that this process computes."""
        self._data, self._size, self._rows, self._device = data, batch_size, rows, device
        self._order = EpochOrder(len(data), seed, data.weights)
        self._pinned = device.type == "cuda"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._ready: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, H, W) uint8 and labels (B,) int64 of a step, on the device.

        Or latents and text states, as `Inputs` has them.

        On CUDA the copy is only queued; work queued later sees it.
        """
        wanted = range(step, step + 1 + _AHEAD)
        self._ready = {
            s: self._ready.get(s) or self._thread.submit(self._gather, s) for s in wanted
        }
        images, labels = self._ready.pop(step).result()
        return (
            images.to(self._device, non_blocking=True),
            labels.to(self._device, non_blocking=True),
        )

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _gather(self, step: int) -> tuple[Tensor, Tensor]:
        indices = self._order.batch(step, self._size)[self._rows]
        shape = (len(indices), *self._data.images.shape[1:])
        dtype = torch.uint8 if self._data.images.dtype == np.uint8 else torch.float16
        images = torch.empty(shape, dtype=dtype, pin_memory=self._pinned)
        # "clip" spares a second buffer; the indices are in range.
        np.take(self._data.images, indices, axis=0, out=images.numpy(), mode="clip")
        labels = self._data.conditions(self._data.labels[indices])
        return images, labels.pin_memory() if self._pinned else labels
