"""Guidance distillation: one evaluation says what two said."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint import read_manifest, resolve
from models.distilled import BakedGuidance
from models.guidance import guide
from models.sampler import SAMPLERS
from tests.training.distillation.support import CPU, distillation, published, student_run, teacher
from training.distillation.guidance import GuidanceObjective
from training.distillation.teacher import guidance_at
from training.errors import TrainingError
from training.run.objective import Noised


def noised(labels: Tensor) -> Noised:
    generator = torch.Generator().manual_seed(5)
    x_0, noise = torch.randn(2, len(labels), 1, 8, 8, generator=generator)
    alpha, sigma = (torch.full((len(labels), 1, 1, 1), v) for v in (0.6, 0.8))
    t = torch.full((len(labels),), 50.0)
    return Noised(x_0, alpha * x_0 + sigma * noise, noise, t, alpha, sigma, labels)


def test_the_teacher_is_guided_as_the_formula_says(tmp_path: Path) -> None:
    run = student_run(tmp_path, "guidance", "distill.guidance_scale=2.5")
    run.close()
    objective = run.lesson.objective
    assert isinstance(objective, GuidanceObjective)
    labels = torch.tensor([0, 1, 2, 3])  # 3 is the null class: nothing to guide
    rows, network = noised(labels), objective._teacher.model.network
    with torch.no_grad():
        unconditional = network(rows.x_t, rows.t, torch.full_like(labels, 3))
        conditional = network(rows.x_t, rows.t, labels)
    expected = guide(unconditional, conditional, torch.full((4,), 2.5))
    said = objective._teacher.output(rows)
    torch.testing.assert_close(said, expected)
    torch.testing.assert_close(said[3], unconditional[3])


def test_a_teacher_looks_twice_at_rows_inside_its_interval_alone(tmp_path: Path) -> None:
    run = student_run(tmp_path, "guidance", "distill.guidance_interval=[0.3, 0.9]")
    run.close()
    objective = run.lesson.objective
    assert isinstance(objective, GuidanceObjective)
    labels, network = torch.tensor([0, 1, 2]), objective._teacher.model.network
    rows = noised(labels)
    rows.alpha[1], rows.sigma[1] = 0.01, 0.99995  # near pure noise: before the interval
    seen: list[int] = []
    watching = network.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    said = objective._teacher.output(rows)
    watching.remove()
    assert seen == [5]
    with torch.no_grad():
        unconditional = network(rows.x_t, rows.t, torch.full_like(labels, 3))
        conditional = network(rows.x_t, rows.t, labels)
    torch.testing.assert_close(
        said, guide(unconditional, conditional, torch.tensor([1.5, 1.0, 1.5]))
    )
    torch.testing.assert_close(said[1], conditional[1])


def test_guidance_holds_within_its_interval_only() -> None:
    log_s = torch.tensor([5.0, 2.4, 0.8, -0.8, -2.7, -3.4])[:, None, None, None]
    alpha, sigma = (-2 * log_s).sigmoid().sqrt(), (2 * log_s).sigmoid().sqrt()
    done = [(-float(value) + 5.1) / 8.6 for value in log_s.flatten()]
    scales = guidance_at(BakedGuidance(scale=2.0, interval=(0.3, 0.9)), alpha, sigma)
    assert scales.flatten().tolist() == [2.0 if 0.3 <= share < 0.9 else 1.0 for share in done]
    everywhere = guidance_at(BakedGuidance(scale=2.0), alpha, sigma)
    assert everywhere.flatten().tolist() == [2.0] * 6


def test_all_of_a_run_is_no_interval(tmp_path: Path) -> None:
    folder = teacher(tmp_path)
    options = {"distill.guidance_scale=2", "distill.guidance_interval=[0, 1]"}
    assert distillation(folder, "guidance", *options, name="s").guidance.interval is None


def test_a_student_comes_to_say_what_the_guided_teacher_says(tmp_path: Path) -> None:
    options = ["train.steps=80", "train.learning_rate=1e-3", "distill.guidance_scale=4"]
    run = student_run(tmp_path, "guidance", *options)
    objective, rows = run.lesson.objective, noised(torch.tensor([0, 1, 2]))

    def error() -> float:
        with torch.no_grad():
            return float(objective.errors(run.learner.network, rows).mean())

    before = error()
    for _ in range(80):
        run.learner.advance()
    assert error() < 0.7 * before
    run.close()


def test_a_student_takes_no_other_guidance_and_says_so(tmp_path: Path) -> None:
    run = student_run(tmp_path, "guidance", "distill.guidance_interval=[0.3, 0.9]")
    run.run(until=2)
    manifest = published(run).manifest
    assert manifest.distilled.guidance == BakedGuidance(scale=1.5, interval=(0.3, 0.9))
    assert manifest.distilled.samplers == SAMPLERS
    defaults = read_manifest(resolve(teacher(tmp_path))).defaults
    assert manifest.defaults == type(defaults)(steps=defaults.steps)
    assert manifest.build_table("dpmpp_2m", 5).steps == 5
    with pytest.raises(ValueError, match=r"guidance 1.5: the weights hold guidance of 1.5 and"):
        manifest.build_table("dpmpp_2m", 5, guidance_scale=1.5)


def test_what_is_baked_once_is_not_baked_twice(tmp_path: Path) -> None:
    run = student_run(tmp_path, "guidance")
    run.run(until=2)
    with pytest.raises(TrainingError, match="hold guidance of 1.5 already"):
        distillation(run.folder, "guidance", name="again")
    with pytest.raises(TrainingError, match="hold guidance of 1.5 already"):
        distillation(run.folder, "consistency", "distill.guidance_scale=2", name="again")
    onwards = distillation(run.folder, "consistency", name="fast")
    assert onwards.guidance.scale == 1.0  # the teacher needs no second evaluation any more
    with pytest.raises(TrainingError, match="at guidance 1 takes one evaluation a step already"):
        distillation(teacher(tmp_path), "guidance", "distill.guidance_scale=1", name="again")


def test_a_resumed_run_has_the_same_weights(tmp_path: Path) -> None:
    whole = student_run(tmp_path, "guidance", name="whole")
    whole.run(until=6)
    student_run(tmp_path, "guidance", name="parts").run(until=3)
    second = student_run(tmp_path, "guidance", name="parts")
    second.resume()
    second.run(until=6)
    assert second.device == CPU
    for name, value in whole.learner.ema.weights.items():
        assert torch.equal(value, second.learner.ema.weights[name]), name
