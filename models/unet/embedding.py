"""Timesteps as vectors."""

import math

import torch
from torch import Tensor


def timestep_embedding(
    t: Tensor, dim: int, *, freq_shift: float = 0.0, flip_sin_to_cos: bool = True
) -> Tensor:
    """Sinusoidal embedding of timesteps (Vaswani et al. 2017, section 3.5), in float32.

    Args:
        t: (B,) timesteps, integer or fractional.
        dim: even width of the embedding.

    Returns:
        (B, dim) float32: cosines then sines, or sines then cosines when not flipped.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / (half - freq_shift)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * exponent)
    sines, cosines = angles.sin(), angles.cos()
    return torch.cat([cosines, sines] if flip_sin_to_cos else [sines, cosines], dim=-1)
