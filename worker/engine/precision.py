"""What `EMAKI_PRECISION` means on this device: the arithmetic, and the sizes of chunks.

| mode     | promise                                                                 |
| exact    | bit-identical pictures whatever shares the step: the sizes of chunks    |
|          | whose bits are the same, as tried when a model is loaded, or a single one |
| balanced | at most one grey level in 0.1 % of pixels: float32, all sizes           |
| fast     | none across sizes: bfloat16 where the device computes in it, all sizes  |

Left open, it is `exact` where the processor computes in bfloat16 (or there is a GPU), for there it
is as fast as any; else `balanced`.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from models.arithmetic import computes_bfloat16

Precision = Literal["exact", "balanced", "fast"]

_CPU_SIZES = (1, 2, 4, 8, 16)
_CPU_EXACT_SIZE = 4  # stays if no other computes the same bits
_CUDA_SIZES = (16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Plan:
    """Arithmetic and chunks for one device.

    Attributes:
        sizes: of chunks, rising.
        cores: that evaluate chunks side by side.
        single: whether one size alone is used, the best that a model has memory and time for.
        graphs: whether a step is a captured graph of one chunk, as on a GPU.
        places: that a step has at most; None: a chunk of the largest size a core.
        alike: the size whose bits the others must have to be used; None: any will do.
    """

    sizes: tuple[int, ...]
    cores: int = 1
    dtype: torch.dtype = torch.float32
    alike: int | None = None
    single: bool = False
    graphs: bool = False
    places: int | None = None

    def __post_init__(self) -> None:
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] < 1:
            raise ValueError(f"sizes {list(self.sizes)} are not rising and at least 1")
        if self.capacity < 2:
            raise ValueError(f"a step of {self.capacity} places has none for a guided row; take 2")

    @property
    def capacity(self) -> int:
        """Places that a step has at most."""
        return max(2, self.sizes[-1] * self.cores) if self.places is None else self.places


def choose(*, device: torch.device) -> Precision:
    """The mode where none was asked for."""
    return "exact" if computes_bfloat16(device) else "balanced"


def plan(
    precision: Precision, *, device: torch.device, cores: int, chunk: int | None = None
) -> Plan:
    """Arithmetic, sizes and capacity of a mode on a device.

    Args:
        chunk: the one size on a GPU; None: chosen when a model is loaded.
    """
    if device.type == "cuda":
        sizes = _CUDA_SIZES if chunk is None else (chunk,)
        single = precision != "fast"
        return Plan(sizes, dtype=torch.bfloat16, single=single, graphs=True)
    halved = precision != "balanced" and computes_bfloat16(device)
    dtype = torch.bfloat16 if halved else torch.float32
    return Plan(_CPU_SIZES, cores, dtype, alike=_CPU_EXACT_SIZE if precision == "exact" else None)
