"""One version of one model on a device, and what a row may be drawn for.

A condition is a tensor of a shape fixed per model: a 0-d int64 label, or what a network asks of a
text (`UNet.listen`). The engine stacks them and knows nothing else of classes or words.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Show = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Condition:
    """What the network is told of a row, beside its pixels and timestep.

    Attributes:
        shape: of one row's.
        null: the unconditional one; None where there is none.
    """

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.int64
    null: Tensor | None = None

    @classmethod
    def of_classes(cls, null_class: int | None) -> "Condition":
        """Labels; ``null_class`` is the unconditional one."""
        return cls(null=None if null_class is None else torch.tensor(null_class))


@dataclass(frozen=True, eq=False)
class Weights:
    """One version of one model, ready to run.

    Attributes:
        forward: (b, C, H, W), (b,) float32 t, conditions (b, ...) or None -> (b, C, H, W).
        condition: None where the network takes none.
        decode: rows to pictures, (n, C, H, W) float32 -> (n, C', H', W') in [-1, 1], where rows are
            latents; None: rows are pictures.
        encode: pictures to rows, the other way round; None where rows are pictures.
        preview: the same roughly, and at no cost; None: rows show themselves.
        sizes: of chunks in which it may be evaluated (`probe`); None: in all that the plan has.
    """

    version: str
    forward: Forward
    shape: tuple[int, int, int]
    condition: Condition | None = None
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    decode: Show | None = None
    encode: Show | None = None
    preview: Show | None = None
    sizes: tuple[int, ...] | None = None
