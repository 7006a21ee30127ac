"""Noise schedules of the forward process x_t = alpha_t x_0 + sigma_t eps.

alpha_t = sqrt(alpha_bar_t) and sigma_t = sqrt(1 - alpha_bar_t), for t in 0 ... T-1.
Everything is float64: rounding happens once, when a sampler's table or a training batch is made.
Knows nothing of networks or samplers.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SCHEDULES = ("linear", "cosine")
MAX_BETA = 0.999


@dataclass(frozen=True)
class Schedule:
    """A variance schedule: its name and length determine every value.

    Attributes:
        name: "linear" (Ho et al. 2020, section 4, rescaled by 1000/T) or
            "cosine" (Nichol & Dhariwal 2021, Eq. 17).
        timesteps: T, at least 2.
    """

    name: str
    timesteps: int

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.name!r}; known: {', '.join(SCHEDULES)}")
        if not 2 <= self.timesteps <= 10_000:
            raise ValueError(f"a schedule has 2 to 10000 timesteps, not {self.timesteps}")

    @cached_property
    def betas(self) -> Floats:
        """(T,) variances added at each step, at most 0.999."""
        if self.name == "linear":
            # Unscaled, alpha_bar_T is far from zero for T < 1000 and no sampler reaches the data.
            scale = 1000 / self.timesteps
            betas = np.linspace(1e-4 * scale, 0.02 * scale, self.timesteps, dtype=np.float64)
        else:
            edges = np.arange(self.timesteps + 1, dtype=np.float64) / self.timesteps
            f = np.square(np.cos((edges + 0.008) / 1.008 * math.pi / 2))
            betas = np.asarray(1 - f[1:] / f[:-1], dtype=np.float64)
        return np.minimum(betas, MAX_BETA)

    @cached_property
    def log_alphas(self) -> Floats:
        """(T,) log alpha_t; near the data, 1 - alpha is known well only through this."""
        return np.cumsum(np.log1p(-self.betas), dtype=np.float64) / 2

    @cached_property
    def alpha_bar(self) -> Floats:
        """(T,) share of the signal's variance left at t; positive and falling."""
        return np.exp(2 * self.log_alphas)

    @cached_property
    def alphas(self) -> Floats:
        """(T,) factor of x_0 in x_t."""
        return np.exp(self.log_alphas)

    @cached_property
    def sigmas(self) -> Floats:
        """(T,) factor of the noise in x_t."""
        return np.sqrt(-np.expm1(2 * self.log_alphas))

    @cached_property
    def half_log_snr(self) -> Floats:
        """(T,) lambda_t = log(alpha_t / sigma_t), falling (Lu et al. 2022)."""
        return self.log_alphas - np.log(self.sigmas)
