"""Schedules against diffusers', against their papers, and against what they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar

from models.schedule import MAX_BETA, SCHEDULES, Schedule

DIFFUSERS_NAME = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


@pytest.mark.parametrize("name", DIFFUSERS_NAME)
def test_schedule_is_diffusers_schedule(name: str) -> None:
    theirs = DDPMScheduler(1000, beta_schedule=DIFFUSERS_NAME[name])
    np.testing.assert_allclose(
        Schedule(name, 1000).alpha_bar, theirs.alphas_cumprod.double().numpy(), rtol=2e-4, atol=1e-9
    )


def test_exponential_is_diffusers_exp() -> None:
    theirs = betas_for_alpha_bar(300, alpha_transform_type="exp")
    np.testing.assert_allclose(Schedule("exponential", 300).betas, theirs.numpy(), rtol=1e-6)


def test_a_range_of_betas_is_taken_as_it_is() -> None:
    for name in ("linear", "scaled_linear"):
        theirs = DDPMScheduler(300, beta_schedule=name, beta_start=0.00085, beta_end=0.012)
        ours = Schedule(name, 300, (0.00085, 0.012))
        np.testing.assert_allclose(ours.betas, theirs.betas.numpy(), rtol=1e-5)
        np.testing.assert_allclose(ours.alpha_bar, theirs.alphas_cumprod.numpy(), atol=1e-6)


def by_exponential(u: float) -> float:
    return math.exp(-12 * u)


def by_sigmoid(u: float) -> float:
    """Chen 2023, Algorithm 1: start = -3, end = 3, tau = 1."""

    def sigmoid(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    return (sigmoid(3) - sigmoid(u * 6 - 3)) / (sigmoid(3) - sigmoid(-3))


def by_cosine(u: float) -> float:
    def f(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    return f(u) / f(0)


@pytest.mark.parametrize("timesteps", [10, 200, 1000])
@pytest.mark.parametrize(
    ("name", "formula"),
    [("exponential", by_exponential), ("sigmoid", by_sigmoid), ("cosine", by_cosine)],
)
def test_alpha_bar_is_its_papers_formula(
    name: str, formula: Callable[[float], float], timesteps: int
) -> None:
    schedule = Schedule(name, timesteps)
    expected = [formula((t + 1) / timesteps) for t in range(timesteps)]
    uncapped = schedule.betas < MAX_BETA
    assert uncapped.sum() >= timesteps - 1
    np.testing.assert_allclose(
        schedule.alpha_bar[uncapped], np.array(expected)[uncapped], rtol=1e-9
    )


@pytest.mark.parametrize("timesteps", [100, 200, 1000])
def test_linear_is_rescaled_to_any_length(timesteps: int) -> None:
    product = 1.0
    for t in range(timesteps):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * t / (timesteps - 1)) * 1000 / timesteps
        assert Schedule("linear", timesteps).alpha_bar[t] == pytest.approx(product, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timesteps", [50, 200, 512, 1000])
def test_noise_covers_the_data_at_every_length(name: str, timesteps: int) -> None:
    schedule = Schedule(name, timesteps)
    assert 0 < schedule.alpha_bar[-1] < 5e-5
    assert np.all(np.diff(schedule.half_log_snr) < 0)
    assert schedule.betas.max() <= MAX_BETA
    np.testing.assert_allclose(schedule.alphas**2 + schedule.sigmas**2, 1)


def test_unknown_schedules_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown schedule 'quadratic'; known: linear, cosine"):
        Schedule("quadratic", 1000)
    with pytest.raises(ValueError, match="not 1"):
        Schedule("linear", 1)
    with pytest.raises(ValueError, match="'sigmoid' takes no beta_range"):
        Schedule("sigmoid", 1000, (1e-4, 0.02))
    with pytest.raises(ValueError, match="'scaled_linear' needs a beta_range"):
        Schedule("scaled_linear", 1000)
    with pytest.raises(ValueError, match="does not rise within 0 ... 0.999"):
        Schedule("linear", 1000, (0.02, 1e-4))
