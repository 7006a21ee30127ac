"""Schedules against diffusers' and against what they promise."""

import numpy as np
import pytest
from diffusers import DDPMScheduler

from models.schedule import MAX_BETA, SCHEDULES, Schedule

DIFFUSERS_NAME = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_diffusers_schedule(name: str) -> None:
    theirs = DDPMScheduler(1000, beta_schedule=DIFFUSERS_NAME[name])
    np.testing.assert_allclose(
        Schedule(name, 1000).alpha_bar, theirs.alphas_cumprod.double().numpy(), rtol=2e-4, atol=1e-9
    )


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timesteps", [200, 512, 1000])
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
