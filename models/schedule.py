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

# Those that a name and a length determine; "scaled_linear" needs a beta_range besides.
SCHEDULES = ("linear", "cosine", "exponential", "sigmoid")
RANGED = ("linear", "scaled_linear")
MAX_BETA = 0.999
_EXPONENTIAL_RATE = 12.0
_SIGMOID_END = 3.0


@dataclass(frozen=True)
class Schedule:
    """A variance schedule: its name, length and range determine every value.

    Attributes:
        name: one of

            - "linear": beta from 1e-4 to 0.02 (Ho et al. 2020, section 4), times 1000/T;
            - "cosine": Nichol & Dhariwal 2021 (arXiv:2102.09672), Eq. 17;
            - "exponential": alpha_bar = exp(-12 t/T), the VP process of Song et al. 2021
              (arXiv:2011.13456), Eq. 11, with constant beta; diffusers' "exp";
            - "sigmoid": Jabri et al. 2022 (arXiv:2212.11972) as Chen 2023 (arXiv:2301.10972),
              Algorithm 1, has it, from -3 to 3 at temperature 1;
            - "scaled_linear": sqrt(beta) rises evenly (Rombach et al. 2022), over ``beta_range``.
        timesteps: T, at least 2.
        beta_range: first and last beta of "linear" or "scaled_linear", as they are, for networks
            that others trained. None: "linear" is rescaled as above.
    """

    name: str
    timesteps: int
    beta_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.name not in (*SCHEDULES, *RANGED):
            known = ", ".join(dict.fromkeys((*SCHEDULES, *RANGED)))
            raise ValueError(f"unknown schedule {self.name!r}; known: {known}")
        if not 2 <= self.timesteps <= 10_000:
            raise ValueError(f"a schedule has 2 to 10000 timesteps, not {self.timesteps}")
        if self.beta_range is None:
            if self.name not in SCHEDULES:
                raise ValueError(f"schedule {self.name!r} needs a beta_range, e.g. [0.0001, 0.02]")
            return
        if self.name not in RANGED:
            raise ValueError(
                f"schedule {self.name!r} takes no beta_range; leave it out, or use one of "
                f"{', '.join(RANGED)}"
            )
        first, last = self.beta_range
        if not 0 < first <= last <= MAX_BETA:
            raise ValueError(f"beta_range [{first}, {last}] does not rise within 0 ... {MAX_BETA}")

    @cached_property
    def betas(self) -> Floats:
        """(T,) variances added at each step, at most 0.999."""
        if self.name in RANGED:
            first, last = self.beta_range or rescaled_range(self.timesteps)
            if self.name == "linear":
                betas = np.linspace(first, last, self.timesteps, dtype=np.float64)
            else:
                roots = np.linspace(math.sqrt(first), math.sqrt(last), self.timesteps)
                betas = np.square(roots, dtype=np.float64)
        elif self.name == "exponential":
            betas = np.full(self.timesteps, -math.expm1(-_EXPONENTIAL_RATE / self.timesteps))
        else:
            edges = np.arange(self.timesteps + 1, dtype=np.float64) / self.timesteps
            f = _cosine(edges) if self.name == "cosine" else _sigmoid(edges)
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

    def timestep_at(self, half_log_snr: Floats) -> Floats:
        """Timesteps with these lambdas, fractional between whole ones; held to 0 ... T-1."""
        whole = np.arange(self.timesteps, dtype=np.float64)
        return np.interp(half_log_snr, self.half_log_snr[::-1], whole[::-1])

    def half_log_snr_at(self, t: Floats) -> Floats:
        """The lambda at timesteps that may be fractional: the inverse of `timestep_at`."""
        return np.interp(t, np.arange(self.timesteps, dtype=np.float64), self.half_log_snr)


def alpha_sigma(half_log_snr: Floats) -> tuple[Floats, Floats]:
    """Logarithm of alpha, and sigma, where lambda is this: alpha^2 + sigma^2 = 1."""
    return -np.log1p(np.exp(-2 * half_log_snr)) / 2, 1 / np.sqrt(1 + np.exp(2 * half_log_snr))


def rescaled_range(timesteps: int) -> tuple[float, float]:
    """First and last beta of "linear" at T steps: 1e-4 and 0.02, times 1000/T.

    Unscaled, alpha_bar_T is far from zero for T < 1000 and no sampler reaches the data.
    """
    scale = 1000 / timesteps
    return 1e-4 * scale, 0.02 * scale


def _cosine(u: Floats) -> Floats:
    """alpha_bar at u = t/T, up to a factor."""
    return np.square(np.cos((u + 0.008) / 1.008 * math.pi / 2))


def _sigmoid(u: Floats) -> Floats:
    """alpha_bar at u = t/T: one at 0, zero at 1."""
    # With both ends alike, sigmoid(z) = (1 + tanh(z/2)) / 2 needs no other normalisation.
    ratio = np.tanh((2 * u - 1) * _SIGMOID_END / 2) / math.tanh(_SIGMOID_END / 2)
    return np.asarray((1 - ratio) / 2, dtype=np.float64)
