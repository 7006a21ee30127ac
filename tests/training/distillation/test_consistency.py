"""Consistency distillation: its loss where the answer is known, and a student that resumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoint import RESUME
from models.sample import draw
from tests.training.distillation.support import distillation, published, student_run, teacher
from training.distillation.consistency import ConsistencyObjective, Pair, Pairs
from training.distillation.teacher import Teacher
from training.errors import TrainingError
from training.run.objective import Noised


class Oracle(Teacher):
    """Knows the picture behind the noise."""

    def output(self, noised: Noised) -> Tensor:
        return noised.alpha * noised.noise - noised.sigma * noised.x_0


def objective(tmp_path: Path, *overrides: str) -> ConsistencyObjective:
    run = student_run(tmp_path, "consistency", *overrides)
    run.close()
    found = run.lesson.objective
    assert isinstance(found, ConsistencyObjective)
    found._teacher = Oracle(found._teacher.model, found._teacher.guidance)
    return found


def pair(loss: ConsistencyObjective, step: int = 0) -> tuple[Pair, Pairs]:
    draws = loss.draw(step)
    pixels = torch.randint(256, (16, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    return loss.noised(pixels, torch.zeros(16).long(), draws, slice(0, 16)), draws


@pytest.mark.parametrize("steps", [1, 3])
def test_the_teachers_steps_follow_its_path(tmp_path: Path, steps: int) -> None:
    loss = objective(tmp_path, f"distill.teacher_steps={steps}")
    here, draws = pair(loss)
    there = loss.follow(here)
    alpha_r, sigma_r = (v[:, -1, None, None, None] for v in (draws.alpha_r, draws.sigma_r))
    torch.testing.assert_close(there.x_t, alpha_r * here.x_0 + sigma_r * here.noise)
    torch.testing.assert_close(there.sigma / there.alpha, sigma_r / alpha_r)
    levels = torch.cat([(draws.sigma / draws.alpha)[:, None], draws.sigma_r / draws.alpha_r], dim=1)
    assert levels.shape == (16, steps + 1)
    assert (levels.diff(dim=1) < 0).all()
    assert (draws.t_r <= draws.t[:, None]).all()


class Gaussian(Teacher):
    """Knows the best estimate of data that is normal, of standard deviation 1/2 in every pixel."""

    def output(self, noised: Noised) -> Tensor:
        spread = noised.alpha**2 / 4 + noised.sigma**2
        return (noised.alpha * noised.x_t - noised.x_t * noised.alpha / 4 / spread) / noised.sigma


def test_several_steps_of_the_teacher_are_of_second_order(tmp_path: Path) -> None:
    """The exact path of normal data: pixels keep their place in a distribution that narrows."""
    errors = []
    for steps, intervals in ((2, 16), (4, 32), (8, 64)):
        loss = objective(
            tmp_path,
            f"distill.teacher_steps={steps}",
            f"distill.first_intervals={intervals}",
            "distill.last_intervals=256",
            "train.noise_std=0.1",
        )
        loss._teacher = Gaussian(loss._teacher.model, loss._teacher.guidance)
        here, _ = pair(loss)
        here.x_t.mul_(0.2)  # within what estimates are clipped to
        there = loss.follow(here)
        narrowed = (there.alpha**2 / 4 + there.sigma**2) / (here.alpha**2 / 4 + here.sigma**2)
        errors.append(float((there.x_t - here.x_t * narrowed.sqrt()).abs().max()))
    assert errors[0] > 2.5 * errors[1] > 2.5**2 * errors[2]


def test_a_network_that_knows_the_picture_at_every_level_is_consistent(tmp_path: Path) -> None:
    loss = objective(tmp_path)
    here, draws = pair(loss)
    there = loss.follow(here)

    def knows(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        level = here if torch.equal(t, here.t) else there
        return (level.alpha * x_t - here.x_0) / level.sigma

    gap = draws.sigma / draws.alpha - (draws.sigma_r / draws.alpha_r)[:, -1]
    # What is left is float32's rounding, over s - r.
    assert (loss.errors(knows, here) * gap < 1e-4).all()

    def forgets(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros_like(x_t)

    # v = 0 gives x0_hat = alpha x: the distance of two such has a closed form.
    moved = (here.alpha * here.x_t - there.alpha * there.x_t).flatten(1).norm(dim=1)
    torch.testing.assert_close(loss.errors(forgets, here), moved / gap, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "wanted"), [([], torch.float32), (["distill.bf16=true"], torch.bfloat16)]
)
def test_estimates_are_in_bfloat16_only_if_the_distillation_says_so(
    tmp_path: Path, options: list[str], wanted: torch.dtype
) -> None:
    loss = objective(tmp_path, "train.bf16=true", *options)
    seen = []

    def multiplies(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        rows = x_t.flatten(1)
        seen.append((rows @ torch.eye(rows.shape[1])).dtype)
        return torch.zeros_like(x_t)

    here, _ = pair(loss)
    assert loss.errors(multiplies, here).dtype == torch.float32
    assert seen == [wanted, wanted]


def test_gaps_halve_stage_by_stage_and_are_wider_near_the_data(tmp_path: Path) -> None:
    loss = objective(tmp_path, "distill.last_intervals=64", "train.steps=300")
    far, near = torch.tensor([1e9]).double(), torch.tensor([0.0]).double()
    gaps = [float(loss.gap(far, step)) for step in (0, 99, 100, 199, 200, 299, 300, 9999)]
    assert gaps == [1 / 16, 1 / 16, 1 / 32, 1 / 32, 1 / 64, 1 / 64, 1 / 64, 1 / 64]
    assert float(loss.gap(near, 0)) == pytest.approx(5 / 16)


def test_levels_are_log_normal_within_the_schedule(tmp_path: Path) -> None:
    loss = objective(tmp_path, "train.batch_size=4096")
    draws = loss.draw(0)
    log_s = (draws.sigma / draws.alpha).log()
    assert float(log_s.median()) == pytest.approx(-0.8, abs=0.15)
    inner = log_s.quantile(torch.tensor([0.16, 0.84]))
    assert float(inner[1] - inner[0]) / 2 == pytest.approx(2.0, abs=0.15)
    assert 0 <= float(draws.t.min()) <= float(draws.t.max()) <= 99


def test_a_student_becomes_consistent_and_says_what_it_can_do(tmp_path: Path) -> None:
    fast = ["train.steps=120", "train.learning_rate=3e-3", "distill.last_intervals=16"]
    run = student_run(tmp_path, "consistency", *fast)

    def loss() -> float:
        """Of the same pictures, levels and noise each time."""
        learner, rows = run.learner, slice(0, 16)
        pixels = torch.tensor(run.data.images[rows])
        labels = torch.tensor(run.data.labels[rows])
        with torch.no_grad():
            draws = run.lesson.objective.draw(1000)
            return float(run.lesson.objective.loss(learner.network, pixels, labels, draws, rows))

    before = loss()
    for _ in range(120):
        run.learner.advance()
    assert loss() < 0.95 * before
    run.save()
    manifest = published(run).manifest
    assert manifest.distilled.samplers == ("consistency",)
    assert manifest.distilled.guidance is not None
    assert manifest.distilled.guidance.scale == 1.5  # the teacher's default
    assert (manifest.defaults.sampler, manifest.defaults.steps) == ("consistency", 2)
    assert manifest.training["teacher"]["model"] == "teacher@0000060"
    assert manifest.network.dropout == 0
    run.close()


def test_a_resumed_distillation_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole = student_run(tmp_path, "consistency", name="whole")
    whole.run(until=12)
    student_run(tmp_path, "consistency", name="parts").run(until=5)
    second = student_run(tmp_path, "consistency", name="parts")
    second.resume()
    second.run(until=12)
    files = [run.folder / "0000012" / RESUME for run in (whole, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_resuming_with_another_teacher_is_refused(tmp_path: Path) -> None:
    student_run(tmp_path, "consistency").run(until=2)
    run = student_run(tmp_path, "consistency")
    run.lesson = replace(run.lesson, facts={"teacher": {"model": "other@1", "sha256": "0"}})
    with pytest.raises(TrainingError, match="was trained with teacher .*teacher@0000060"):
        run.resume()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_student_draws_in_one_to_four_evaluations(tmp_path: Path, steps: int) -> None:
    run = student_run(tmp_path, "consistency")
    run.run(until=4)
    model = published(run)
    table = model.manifest.build_table("consistency", steps)
    images = draw(model.network, table, seeds=torch.arange(3), labels=torch.arange(3))
    assert images.shape == (3, 1, 8, 8)
    assert np.isfinite(images.numpy()).all()
    assert float(images.abs().max()) <= 1
    assert table.steps == steps


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["distill.first_intervals=4"], "distill.first_intervals = 4 is below 8"),
        (["distill.teacher_steps=0"], "distill.teacher_steps = 0 is not in 1 ... 16"),
        (["distill.last_intervals=100"], "is not first_intervals = 16 doubled"),
        (["distill.levels=[[], [0.0]]"], r"\[distill\] consistency.levels \[0.0\] for 2 steps"),
        (["distill.guidance_scale=21"], "guidance.scale 21 is not in 0 ... 20"),
        (["distill.guidance_interval=[0.9, 0.2]"], "does not rise"),
        (["distill.gap=3"], "has an unknown field 'gap'"),
        (["diffusion.timesteps=9"], r"unknown section \[diffusion\]"),
        (["publish.steps=5"], r"\[publish\] 5 steps: sampler consistency takes 1 to 4"),
        (["publish.guidance_scale=2"], "take no other; use 1"),
    ],
)
def test_what_cannot_be_distilled_is_refused_by_name(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    folder = teacher(tmp_path, steps=1)
    with pytest.raises(TrainingError, match=message):
        distillation(folder, "consistency", *overrides, name="student")


@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_only_a_model_of_v_can_become_consistent(tmp_path: Path, prediction: str) -> None:
    folder = teacher(tmp_path, f"diffusion.prediction={prediction}", steps=1)
    with pytest.raises(TrainingError, match=f"predicts {prediction}, .* train a teacher"):
        distillation(folder, "consistency", name="student")
