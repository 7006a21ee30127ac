"""The one kernel of all samplers: advance a batch of rows by one step each.

Shapes: B rows of (C, H, W); coefficients are (B,) float32 and belong to each row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coefficients:
    """One table row per batch row, each (B,) float32; ``bound`` is inf where x0 is not clipped."""

    p: Tensor
    q: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor
    bound: Tensor


def advance(
    x: Tensor, output: Tensor, previous: Tensor, noise: Tensor | None, k: Coefficients
) -> tuple[Tensor, Tensor]:
    """One step of every row.

    Args:
        x: (B, C, H, W) float32, the rows now.
        output: (B, C, H, W), what the network said, after guidance.
        previous: (B, C, H, W) float32, the estimates of x_0 one step ago; zeros at a row's start.
        noise: (B, C, H, W) float32 unit normal, or None when every d is zero.

    Returns:
        The rows one step on, and their present estimates of x_0.
    """
    estimate = _rows(k.p) * x + _rows(k.q) * output.to(x.dtype)
    bound = _rows(k.bound)
    estimate = torch.minimum(torch.maximum(estimate, -bound), bound)
    moved = _rows(k.a) * x + _rows(k.b) * estimate + _rows(k.c) * previous
    return (moved if noise is None else moved + _rows(k.d) * noise), estimate


def _rows(values: Tensor) -> Tensor:
    return values[:, None, None, None]
