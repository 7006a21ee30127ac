"""What `EMAKI_PRECISION` means on this device: the arithmetic, and the sizes of batches.

| mode     | promise                                                          |
| exact    | bit-identical pictures whatever shares the batch: one bucket     |
| balanced | at most one grey level in 0.1 % of pixels: float32, some buckets |
| fast     | none across batch sizes: bfloat16, some buckets                  |
"""

from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["exact", "balanced", "fast"]

_CPU_CAPACITY = 16
_CPU_EXACT_BUCKET = 8
_CUDA_CAPACITY = 64


@dataclass(frozen=True)
class Plan:
    """Arithmetic and batch sizes for one device."""

    dtype: torch.dtype
    buckets: tuple[int, ...]


def plan(precision: Precision, *, device: torch.device, threads: int) -> Plan:
    """Choose dtype and buckets.

    Buckets are powers of two and multiples of the CPU's threads (themselves a power of two), so
    that every place of a batch is computed alike; a bucket of 1 has a single place.
    """
    assert threads & (threads - 1) == 0, "threads are a power of two"
    if device.type == "cuda":
        if precision == "fast":
            return Plan(torch.bfloat16, (8, 16, 32, _CUDA_CAPACITY))
        return Plan(torch.bfloat16, (_CUDA_CAPACITY // 2,))
    if precision == "exact":
        return Plan(torch.float32, (max(_CPU_EXACT_BUCKET, threads),))
    sizes = {1, threads}
    while max(sizes) < _CPU_CAPACITY:
        sizes.add(2 * max(sizes))
    dtype = torch.bfloat16 if precision == "fast" else torch.float32
    return Plan(dtype, tuple(sorted(sizes)))
