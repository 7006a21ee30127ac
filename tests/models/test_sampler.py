"""Each sampler's table against the real diffusers scheduler, and the laws that tables obey.

diffusers runs with our float64 alpha_bar put in, on the same timesteps and the same noise.
"""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from models.prediction import PREDICTIONS, Prediction
from models.sampler import SAMPLERS, VARIANCES, Sampler, Table, Variance, build_table
from models.schedule import SCHEDULES, Schedule
from models.step import Coefficients, advance

DIFFUSERS_PREDICTION = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
SHAPE = (2, 1, 4, 4)


def network(x: Tensor, t: float) -> Tensor:
    """Any fixed function will do: both sides call it."""
    return torch.tanh(0.7 * x + 0.3) * (0.5 + t / 2000)


def noise(k: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(k))


class Stepped(DPMSolverMultistepScheduler):  # type: ignore[misc]  # to mypy it is Any
    """Its parts are called one by one, so whoever calls says which step it is."""

    step_index = 0


def run_table(table: Table, *, clip: bool) -> Tensor:
    def column(value: float) -> Tensor:
        return torch.full((SHAPE[0],), value, dtype=torch.float64)

    x, previous = noise(0), torch.zeros(SHAPE, dtype=torch.float64)
    for k in range(table.steps):
        row = {n: column(float(getattr(table, n)[k])) for n in ("p", "q", "a", "b", "c", "d")}
        bound = column(1.0 if clip else float("inf"))
        output = network(x, float(table.t[k]))
        x, previous = advance(x, output, previous, noise(k + 1), Coefficients(**row, bound=bound))
    return x


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize(("schedule", "steps"), [("linear", 10), ("linear", 37), ("cosine", 12)])
def test_ddpm_is_diffusers_ddpm(
    schedule: str, steps: int, variance: Variance, clip: bool, prediction: Prediction
) -> None:
    ours = Schedule(schedule, 1000)
    table = build_table(ours, prediction=prediction, sampler="ddpm", steps=steps, variance=variance)
    theirs = DDPMScheduler(
        1000,
        prediction_type=DIFFUSERS_PREDICTION[prediction],
        variance_type={"fixedsmall": "fixed_small", "fixedlarge": "fixed_large"}[variance],
        clip_sample=clip,
    )
    theirs.alphas_cumprod = torch.from_numpy(ours.alpha_bar.copy())
    theirs.one = torch.tensor(1.0, dtype=torch.float64)
    theirs.set_timesteps(timesteps=[int(t) for t in table.t])
    x = noise(0)
    for k, t in enumerate(theirs.timesteps):
        output = network(x, float(t))
        if k == steps - 1:  # ours adds no noise on the last step, whatever the variance
            x = theirs.step(output, t, x).pred_original_sample
        else:
            generator = torch.Generator().manual_seed(k + 1)
            x = theirs.step(output, t, x, generator=generator).prev_sample
    torch.testing.assert_close(run_table(table, clip=clip), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_is_diffusers_ddim(steps: int, eta: float, clip: bool, prediction: Prediction) -> None:
    ours = Schedule("linear", 1000)
    table = build_table(ours, prediction=prediction, sampler="ddim", steps=steps, eta=eta)
    theirs = DDIMScheduler(
        1000,
        prediction_type=DIFFUSERS_PREDICTION[prediction],
        timestep_spacing="trailing",
        clip_sample=clip,
    )
    theirs.alphas_cumprod = torch.from_numpy(ours.alpha_bar.copy())
    theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    theirs.set_timesteps(steps)
    assert theirs.timesteps.tolist() == table.t.tolist()
    x = noise(0)
    for k, t in enumerate(theirs.timesteps):
        x = theirs.step(
            network(x, float(t)),
            t,
            x,
            eta=eta,
            use_clipped_model_output=True,
            variance_noise=noise(k + 1),
        ).prev_sample
    torch.testing.assert_close(run_table(table, clip=clip), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2m_sde"])
@pytest.mark.parametrize(("schedule", "steps"), [("linear", 1), ("linear", 20), ("cosine", 8)])
def test_dpmpp_is_diffusers_dpmpp(
    schedule: str, steps: int, sampler: Sampler, clip: bool, prediction: Prediction
) -> None:
    ours = Schedule(schedule, 1000)
    table = build_table(ours, prediction=prediction, sampler=sampler, steps=steps)
    theirs = Stepped(
        1000,
        prediction_type=DIFFUSERS_PREDICTION[prediction],
        algorithm_type="sde-dpmsolver++" if sampler == "dpmpp_2m_sde" else "dpmsolver++",
        thresholding=clip,  # with its default maximum of 1, this is plain clipping
    )
    theirs.set_timesteps(timesteps=[int(t) for t in table.t])
    theirs.sigmas = torch.from_numpy(np.append(table.sigma / table.alpha, 0.0))
    x = noise(0)
    estimates: list[Tensor] = []
    for k, t in enumerate(theirs.timesteps):
        # What its `step` does, which would round to float32 on the way.
        theirs.step_index = k
        estimates.append(theirs.convert_model_output(network(x, float(t)), sample=x))
        if k in (0, steps - 1):
            x = theirs.dpm_solver_first_order_update(estimates[-1], sample=x, noise=noise(k + 1))
        else:
            x = theirs.multistep_dpm_solver_second_order_update(
                estimates, sample=x, noise=noise(k + 1)
            )
    torch.testing.assert_close(run_table(table, clip=clip), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("timesteps", "steps"), [(1000, 1), (1000, 20), (1000, 1000), (200, 90)])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_every_table_keeps_signal_and_noise_in_step(
    schedule: str, sampler: Sampler, timesteps: int, steps: int, eta: float
) -> None:
    table = build_table(
        Schedule(schedule, timesteps), prediction="v", sampler=sampler, steps=steps, eta=eta
    )
    alpha_next, sigma_next = np.append(table.alpha[1:], 1.0), np.append(table.sigma[1:], 0.0)
    np.testing.assert_allclose(
        table.a * table.alpha + table.b + table.c, alpha_next, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        (table.a * table.sigma) ** 2 + table.d**2, sigma_next**2, rtol=0, atol=1e-12
    )
    assert (table.a[-1], table.b[-1], table.c[-1], table.d[-1]) == (0, 1, 0, 0)
    assert table.c[0] == 0


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("timesteps", [50, 200, 1000])
def test_no_timestep_repeats_or_leaves_the_schedule(
    schedule: str, sampler: Sampler, timesteps: int
) -> None:
    for steps in range(1, timesteps + 1, 7):
        table = build_table(
            Schedule(schedule, timesteps), prediction="eps", sampler=sampler, steps=steps
        )
        assert table.steps == steps
        assert np.all(np.diff(table.t) < 0)
        assert 0 <= table.t[-1] <= table.t[0] <= timesteps - 1
        assert np.isfinite([table.p, table.q, table.a, table.b, table.c, table.d]).all()


def test_ddim_with_eta_one_is_ddpm() -> None:
    schedule = Schedule("cosine", 1000)
    ddim: dict[str, Any] = vars(
        build_table(schedule, prediction="v", sampler="ddim", steps=25, eta=1.0)
    )
    ddpm = vars(build_table(schedule, prediction="v", sampler="ddpm", steps=25))
    for name, column in ddim.items():
        np.testing.assert_allclose(column, ddpm[name], rtol=0, atol=1e-12, err_msg=name)


def test_whole_chain_visits_every_timestep() -> None:
    for name in SCHEDULES:
        table = build_table(Schedule(name, 200), prediction="eps", sampler="ddpm", steps=200)
        assert table.t.tolist() == list(range(199, -1, -1))


def test_cosine_starts_where_a_signal_is_left() -> None:
    table = build_table(Schedule("cosine", 1000), prediction="eps", sampler="ddim", steps=20)
    assert 990 < table.t[0] < 999
    assert table.p[0] < 200  # 1 / alpha; 20,000 at the schedule's very end


def test_fine_log_snr_spacing_uses_fractional_timesteps() -> None:
    schedule = Schedule("linear", 1000)
    coarse = build_table(schedule, prediction="eps", sampler="dpmpp_2m", steps=20)
    fine = build_table(schedule, prediction="eps", sampler="dpmpp_2m", steps=200)
    assert np.array_equal(coarse.t, np.rint(coarse.t))
    assert not np.array_equal(fine.t, np.rint(fine.t))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "euler"}, "unknown sampler 'euler'; known: ddpm"),
        ({"steps": 0}, "0 steps: a sampler takes 1 to T = 1000"),
        ({"steps": 1001}, "1001 steps"),
        ({"eta": 1.5}, "eta 1.5 is not in 0 ... 1"),
    ],
)
def test_impossible_tables_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"prediction": "v", "sampler": "ddim", "steps": 10}
    with pytest.raises(ValueError, match=message):
        build_table(Schedule("linear", 1000), **{**arguments, **changes})
