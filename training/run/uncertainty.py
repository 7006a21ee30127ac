"""Learned uncertainty: how large an error is to be expected at each noise level.

Weighing each error by what is expected there makes all levels count alike (Karras et al. 2024,
arXiv:2312.02696, Eq. 14-15, after Kendall et al. 2018): loss = error / e^u + u is least where
e^u is the expected error. u is learned along with the network and thrown away afterwards.

Shapes: B rows.
"""

import math

import torch
from torch import Tensor, nn

_FEATURES = 64


class Uncertainty(nn.Module):
    """u(ln s) = w . f(ln s) for fixed random Fourier features f; zero before training."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequencies", torch.randn(_FEATURES, generator=generator) / 2)
        self.register_buffer("phases", 2 * math.pi * torch.rand(_FEATURES, generator=generator))
        self.weights = nn.Parameter(torch.zeros(_FEATURES))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, log_s: Tensor) -> Tensor:
        """(B,) ln s to (B,) u."""
        angles = log_s[:, None] * self.frequencies + self.phases
        u: Tensor = (math.sqrt(2 / _FEATURES) * angles.cos()) @ self.weights + self.bias
        return u

    def weigh(self, errors: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """(B,) errors at (B, 1, 1, 1) alpha and sigma to (B,) losses."""
        u: Tensor = self((sigma / alpha).flatten().log())
        return errors * (-u).exp() + u
