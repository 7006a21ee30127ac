"""Counter-based unit normal noise: a pure function of (seed, index, element).

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with
key = the seed's low and high half and counter = (element // 4, index, 0, 0) over the flat
C x H x W image, then Box-Muller in float64, rounded once to float32. So a row's noise depends on
nothing but its own seed and step: not on its neighbours, its place in the batch, or a restart.

Index 0 draws x_T; index k + 1 belongs to row k of a sampler's table.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """On the device once and for all: a captured graph cannot fetch them from the host."""
    with torch.inference_mode(mode=False):
        return torch.tensor(_MULTIPLIERS, device=device), torch.tensor(_WEYL, device=device)


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10 on int64 tensors that hold 32-bit words; all broadcast together.

    Both halves of a round are one operation: small batches are bound by the number of operations.
    """
    words = (*counter, *key)
    shape = np.broadcast_shapes(*(w.shape for w in words))  # torch's loads half a second of sympy
    c0, c1, c2, c3, k0, k1 = (word.expand(shape) for word in words)
    device = c0.device
    multiplied, other = torch.stack([c0, c2]), torch.stack([c1, c3])
    ones = (1,) * c0.dim()
    multipliers, weyl = (constant.view(2, *ones) for constant in _constants(device))
    rounds = torch.arange(_ROUNDS, device=device).view(_ROUNDS, 1, *ones)
    for keys in (torch.stack([k0, k1]) + weyl * rounds) & _MASK:
        # A product of two 32-bit words wraps in int64, but its bits are right: mask every shift.
        product = (multiplied * multipliers).flip(0)
        multiplied = (product >> 32 & _MASK) ^ other ^ keys
        other = product & _MASK
    return multiplied[0], other[0], multiplied[1], other[1]


def normal(seeds: Tensor, index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Unit normal noise, one image per row.

    Args:
        seeds: (B,) int64 in [0, 2**63).
        index: (B,) int64 in [0, 2**32): 0 for x_T, k + 1 for row k of the table.
        shape: (C, H, W) of one image.

    Returns:
        (B, C, H, W) float32 on the device of ``seeds``.
    """
    elements = math.prod(shape)
    blocks = torch.arange(-(-elements // 4), device=seeds.device)[None, :]
    zero = torch.zeros_like(blocks)
    words = philox(
        (blocks, index[:, None], zero, zero),
        (seeds[:, None] & _MASK, (seeds[:, None] >> 32) & _MASK),
    )
    u0, u1, u2, u3 = ((word.double() + 0.5) * 2.0**-32 for word in words)
    first, second = torch.sqrt(-2 * torch.log(u0)), torch.sqrt(-2 * torch.log(u2))
    u1, u3 = u1 * (2 * math.pi), u3 * (2 * math.pi)
    pairs = (first * u1.cos(), first * u1.sin(), second * u3.cos(), second * u3.sin())
    flat = torch.stack(pairs, dim=-1).flatten(1)[:, :elements]
    return flat.float().view(-1, *shape)
