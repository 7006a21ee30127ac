"""Every sampler as a table: one linear update per step, with coefficients fixed in float64.

    x0_hat = clip(P x + Q m)                     m: the network's output, after guidance
    x_next = A x + B x0_hat + C x0_hat(previous) + D z

The coefficients depend only on (sampler, schedule, prediction, steps, eta), so rows at different
timesteps of different samplers advance together in one kernel (``models.step``).
Knows nothing of networks, batches or requests.
"""

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal, get_args

import numpy as np

from models.prediction import Prediction, to_x0
from models.schedule import Floats, Schedule, alpha_sigma

Sampler = Literal["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Variance = Literal["fixedsmall", "fixedlarge"]
VARIANCES: tuple[Variance, ...] = get_args(Variance)

# Below this half log-SNR, x_t holds no signal that float32 can use: 1/alpha explodes.
START_HALF_LOG_SNR = -5.1
# Beyond this one the picture does not change any more; evaluations are better spent before it.
END_HALF_LOG_SNR = 3.5


@dataclass(frozen=True)
class Table:
    """One sampler's coefficients, K rows, noisiest first; every array is (K,) float64.

    Attributes:
        t: timestep fed to the network; whole numbers unless steps are finer than the schedule.
        alpha, sigma: of x_t at this row.
        p, q: x0_hat = p x + q m.
        a, b, c, d: x_next = a x + b x0_hat + c x0_hat(previous) + d z.
    """

    t: Floats
    alpha: Floats
    sigma: Floats
    p: Floats
    q: Floats
    a: Floats
    b: Floats
    c: Floats
    d: Floats

    @property
    def steps(self) -> int:
        """K, the number of network evaluations."""
        return len(self.t)

    def last(self, rows: int) -> "Table":
        """A run that begins in the middle: only the last ``rows`` rows, 1 ... K.

        Its first row has no estimate before it, so what it would add of that it adds of its own:
        of a second-order solver that is the first-order step, as at the start of a whole run.
        """
        if rows == self.steps:
            return self
        if not 1 <= rows < self.steps:
            raise ValueError(f"the last {rows} rows of a table of {self.steps}: send 1 or more")
        kept = {f.name: getattr(self, f.name)[-rows:].copy() for f in fields(self)}
        kept["b"][0] += kept["c"][0]
        kept["c"][0] = 0
        return Table(**kept)


def build_table(
    schedule: Schedule,
    *,
    prediction: Prediction,
    sampler: Sampler,
    steps: int,
    eta: float = 0.0,
    variance: Variance = "fixedsmall",
) -> Table:
    """Compile a sampler.

    Args:
        steps: K in 1 ... T.
        eta: in 0 ... 1, of ``ddim`` only: 0 is deterministic, 1 equals ``ddpm`` fixedsmall.
        variance: of ``ddpm`` only.

    Raises:
        ValueError: an unknown sampler, or steps or eta out of range.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    if not 1 <= steps <= schedule.timesteps:
        raise ValueError(f"{steps} steps: a sampler takes 1 to T = {schedule.timesteps}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta {eta} is not in 0 ... 1")
    if sampler == "dpmpp_2m" or (sampler == "dpmpp_2m_sde" and schedule.name != "linear"):
        t, log_alpha, sigma = _log_snr_points(schedule, steps)
    else:
        t = _trailing_timesteps(schedule, steps)
        log_alpha, sigma = schedule.log_alphas[t.astype(int)], schedule.sigmas[t.astype(int)]

    alpha = np.exp(log_alpha)
    s = _Steps(alpha[:-1], sigma[:-1], alpha[1:], sigma[1:], log_alpha[1:] - log_alpha[:-1])
    if sampler == "ddpm":
        a, b, c, d = _ancestral(s, variance)
    elif sampler == "ddim":
        a, b, c, d = _ddim(s, eta)
    elif sampler == "dpmpp_2m":
        a, b, c, d = _dpmpp_2m(s)
    else:
        a, b, c, d = _dpmpp_2m_sde(s)
    # The last row of every sampler: the picture is the (clipped) estimate itself.
    a, b, c, d = (
        np.append(column, end) for column, end in zip((a, b, c, d), (0, 1, 0, 0), strict=True)
    )
    p, q = to_x0(prediction, alpha, sigma)
    return Table(t, alpha, sigma, p, q, a, b, c, d)


def _trailing_timesteps(schedule: Schedule, steps: int) -> Floats:
    """Evenly spaced timesteps that end the noisiest first (Lin et al. 2023, "trailing").

    Exact rational arithmetic, half to even: no timestep repeats and none is negative.
    Timesteps noisier than the start are left out unless all of them are needed.
    """
    usable = int(np.sum(schedule.half_log_snr >= START_HALF_LOG_SNR))
    span = usable if steps <= usable else schedule.timesteps
    return np.array([round(Fraction(span * (steps - k), steps)) - 1.0 for k in range(steps)])


def _log_snr_points(schedule: Schedule, steps: int) -> tuple[Floats, Floats, Floats]:
    """Points evenly spaced in lambda = log(alpha/sigma) (Lu et al. 2022, section 4).

    Whole timesteps, unless rounding would repeat one: then fractional timesteps, with lambda
    interpolated between whole ones.

    Returns:
        t, log alpha, sigma, each (steps,).
    """
    lambdas = schedule.half_log_snr
    start, end = max(lambdas[-1], START_HALF_LOG_SNR), min(lambdas[0], END_HALF_LOG_SNR)
    wanted = np.linspace(start, end, steps)
    t = schedule.timestep_at(wanted)
    rounded = np.rint(t)
    if len(np.unique(rounded)) == steps:
        index = rounded.astype(int)
        return rounded, schedule.log_alphas[index], schedule.sigmas[index]
    return t, *alpha_sigma(wanted)


@dataclass(frozen=True)
class _Steps:
    """The K - 1 steps between points: from (alpha, sigma) to (alpha_next, sigma_next).

    ``growth`` is log(alpha_next / alpha), kept apart because it is tiny near the data.
    """

    alpha: Floats
    sigma: Floats
    alpha_next: Floats
    sigma_next: Floats
    growth: Floats

    @property
    def h(self) -> Floats:
        """Growth of lambda = log(alpha/sigma), positive."""
        return self.growth + np.log(self.sigma) - np.log(self.sigma_next)

    @property
    def beta(self) -> Floats:
        """Variance that the forward process adds on the way back: 1 - (alpha / alpha_next)^2."""
        return -np.expm1(-2 * self.growth)


_Columns = tuple[Floats, Floats, Floats, Floats]


def _ancestral(s: _Steps, variance: Variance) -> _Columns:
    """The posterior q(x_next | x_t, x_0) of Ho et al. 2020, Eq. 6-7, over a step of any length."""
    a = (s.alpha / s.alpha_next) * (s.sigma_next / s.sigma) ** 2
    b = s.alpha_next * s.beta / s.sigma**2
    small = s.beta * (s.sigma_next / s.sigma) ** 2
    return a, b, 0 * a, np.sqrt(small if variance == "fixedsmall" else s.beta)


def _ddim(s: _Steps, eta: float) -> _Columns:
    """Song et al. 2021 (DDIM), Eq. 12 and 16; the noise is re-derived from the clipped x0_hat."""
    d = eta * np.sqrt(s.beta) * s.sigma_next / s.sigma
    a = np.sqrt(np.maximum(s.sigma_next**2 - d**2, 0)) / s.sigma
    return a, s.alpha_next - a * s.alpha, 0 * a, d


def _second_order(gain: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Share a two-point extrapolation of x_0 out: midpoint rule; the first step is first-order."""
    if not len(h):
        return gain, gain
    half_ratio = np.concatenate([[0.0], h[1:] / (2 * h[:-1])])
    return gain * (1 + half_ratio), -gain * half_ratio


def _dpmpp_2m(s: _Steps) -> _Columns:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), Algorithm 2."""
    gain = -s.alpha_next * np.expm1(-s.h)
    b, c = _second_order(gain, s.h)
    return s.sigma_next / s.sigma, b, c, 0 * gain


def _dpmpp_2m_sde(s: _Steps) -> _Columns:
    """SDE-DPM-Solver++(2M), Lu et al. 2022, section 4.3 (midpoint)."""
    shrink = -np.expm1(-2 * s.h)
    b, c = _second_order(s.alpha_next * shrink, s.h)
    a = s.sigma_next / s.sigma * np.exp(-s.h)
    return a, b, c, s.sigma_next * np.sqrt(shrink)
