"""Which noise levels a network is trained at: every timestep alike, or a density over log s.

s = sigma / alpha is EDM's noise level for data of unit variance; lambda = -ln s lies within the
schedule. Shapes: B rows.
"""

import numpy as np
import torch
from torch import Tensor

from models.schedule import Floats, Schedule


class LogNormalLevels:
    """ln s ~ N(mean, std^2), held to the schedule's range (Karras et al. 2022, Table 1)."""

    def __init__(
        self, schedule: Schedule, *, mean: float, std: float, device: torch.device
    ) -> None:
        self._mean, self._std = mean, std
        self._lambdas = _tensor(schedule.half_log_snr[::-1], device)
        self._timesteps = _tensor(np.arange(schedule.timesteps, dtype=np.float64)[::-1], device)

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """(B,) float64 lambdas."""
        normal = torch.randn(
            rows, generator=generator, device=self._lambdas.device, dtype=torch.float64
        )
        return self.hold(-(self._mean + self._std * normal))

    def hold(self, half_log_snr: Tensor) -> Tensor:
        """The nearest lambdas that the schedule has."""
        return half_log_snr.clamp(self._lambdas[0], self._lambdas[-1])

    def timesteps(self, half_log_snr: Tensor) -> Tensor:
        """(B,) float32 timesteps for the network, fractional between whole ones."""
        return interpolate(half_log_snr, self._lambdas, self._timesteps).float()


def alpha_sigma(half_log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma, (B,) float32, where lambda is this."""
    alpha, sigma = (2 * half_log_snr).sigmoid().sqrt(), (-2 * half_log_snr).sigmoid().sqrt()
    return alpha.float(), sigma.float()


def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through the points (xs, ys), xs rising; x lies within xs."""
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return torch.lerp(ys[right - 1], ys[right], share)


def _tensor(values: Floats, device: torch.device) -> Tensor:
    return torch.tensor(values.copy(), dtype=torch.float64, device=device)
