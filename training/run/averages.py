"""Power-function averages of the weights, whose length can still be chosen after training.

Karras et al. 2024 (arXiv:2312.02696), section 3 and appendix C: an average with the profile
p(tau) ~ tau^gamma over the run so far keeps its shape as training goes on. Two of them, stored now
and then, are a basis from which an average of any other length is solved for.

A length is said by its relative standard deviation: that of the profile, as a share of the run.
Knows nothing of files.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

STDS = (0.05, 0.10)  # those that are tracked (section 3.2)


def gamma_of(std: float) -> float:
    """The exponent whose profile has this relative standard deviation (Eq. 3, solved for gamma).

    std = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)); it lies in (0, 0.2887).
    """
    if not 0 < std < 12**-0.5:
        raise ValueError(f"an average's relative length {std:g} is not within 0 ... 0.28")
    inverse = std**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(np.max(roots.real[abs(roots.imag) < 1e-6]))


def decay_at(step: int, gamma: float) -> float:
    """How much of the average stays at step 1, 2, ... (Eq. 2): (1 - 1 / t)^(gamma + 1)."""
    return float((1 - 1 / step) ** (gamma + 1))


def inner_product(step_a: float, gamma_a: float, step_b: float, gamma_b: float) -> float:
    """The integral of two profiles' product (appendix C.2, Algorithm 3).

    A profile is (gamma + 1) tau^gamma / t^(gamma + 1) on 0 ... t; the shorter one ends first.
    """
    if step_a > step_b:
        step_a, gamma_a, step_b, gamma_b = step_b, gamma_b, step_a, gamma_a
    ratio = (step_a / step_b) ** gamma_b
    return float((gamma_a + 1) * (gamma_b + 1) / ((gamma_a + gamma_b + 1) * step_b) * ratio)


def solve(
    stored: Sequence[tuple[int, float]], step: int, std: float
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Factors of stored averages whose sum comes nearest to another one's profile.

    Args:
        stored: (step, std) of each.
        step, std: of the average that is wanted.

    Returns:
        (N,) factors, in least squares of the profiles (appendix C.2, Eq. 19).
    """
    profiles = [(float(at), gamma_of(length)) for at, length in stored]
    wanted = (float(step), gamma_of(std))
    matrix = np.array([[inner_product(*a, *b) for b in profiles] for a in profiles])
    right = np.array([inner_product(*a, *wanted) for a in profiles])
    factors, *_ = np.linalg.lstsq(matrix, right, rcond=None)
    return np.asarray(factors, dtype=np.float64)


class PowerAverages:
    """Float32 averages of a network's parameters, one for each of `STDS`, which follow it."""

    def __init__(self, network: nn.Module) -> None:
        self._live = dict(network.named_parameters())
        self._gammas = {std: gamma_of(std) for std in STDS}
        self.weights: dict[float, dict[str, Tensor]] = {
            std: {name: value.detach().clone().float() for name, value in self._live.items()}
            for std in STDS
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step ``step``, 1 being the first."""
        live = [value.float() for value in self._live.values()]
        for std, gamma in self._gammas.items():
            shadow = list(self.weights[std].values())
            torch._foreach_lerp_(shadow, live, 1 - decay_at(step, gamma))

    def state(self) -> dict[str, Tensor]:
        """All weights by ``average.<std>.<parameter>``, which is what a snapshot holds too."""
        return {
            _key(std, name): value
            for std, weights in self.weights.items()
            for name, value in weights.items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` gave; KeyError where it is not there."""
        for std, weights in self.weights.items():
            for name, value in weights.items():
                value.copy_(state[_key(std, name)])


def combine(
    snapshots: Sequence[tuple[int, Mapping[str, Tensor]]], *, step: int, std: float
) -> dict[str, Tensor]:
    """The weights of an average that was not tracked, from snapshots at their steps.

    Returns:
        Float32 tensors by parameter name.
    """
    stored = [(at, length) for at, _ in snapshots for length in STDS]
    factors = iter(solve(stored, step, std))
    prefix = _key(STDS[0], "")
    names = [key.removeprefix(prefix) for key in snapshots[0][1] if key.startswith(prefix)]
    total: dict[str, Tensor] = {}
    for _, tensors in snapshots:
        for length in STDS:
            factor = float(next(factors))
            for name in names:
                part = tensors[_key(length, name)].double() * factor
                total[name] = total[name] + part if name in total else part
    return {name: value.float() for name, value in total.items()}


def _key(std: float, name: str) -> str:
    return f"average.{std:g}.{name}"
