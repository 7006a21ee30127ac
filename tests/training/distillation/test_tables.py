"""Learned tables begin as the solver's, come nearer to the teacher, and go on where stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import load_model
from models.checkpoint import read_manifest, resolve
from models.sample import draw
from models.sampler import build_table
from models.schedule import Schedule
from tests.training.distillation.support import student_run, teacher
from training.__main__ import main
from training.distillation.tables import Budget, TableLearner, second_order
from training.judging.drawing import chosen_settings

BUDGET = Budget(noises=24, iterations=12, batch=8, teacher_steps=20, learning_rate=0.03)
FEW = [f"tables.{key}={getattr(BUDGET, key)}" for key in ("noises", "iterations", "batch")]
SET = [part for value in [*FEW, "tables.learning_rate=0.03"] for part in ("--set", value)]


MIDDLE = (0.25, 0.75)


def learner(tmp_path: Path, *, interval: tuple[float, float] = MIDDLE) -> TableLearner:
    model = load_model(teacher(tmp_path))
    return TableLearner(
        model, steps=4, guidance_scale=1.5, guidance_interval=interval, budget=BUDGET
    )


@pytest.mark.parametrize("steps", [2, 3, 8])
def test_the_solvers_coefficients_are_those_of_its_table(steps: int) -> None:
    table = build_table(Schedule("cosine", 1000), prediction="v", sampler="dpmpp_2m", steps=steps)
    points = torch.tensor(np.log(table.alpha) - np.log(table.sigma))
    for ours, theirs in zip(second_order(points), (table.a, table.b, table.c), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs[:-1], atol=1e-12)


@pytest.mark.parametrize("interval", [(0.0, 1.0), MIDDLE])
def test_a_table_begins_as_the_solvers_and_draws_as_the_plain_loop_does(
    tmp_path: Path, interval: tuple[float, float]
) -> None:
    learning = learner(tmp_path, interval=interval)
    manifest = learning._model.manifest
    seeds = torch.arange(5)
    for table in (
        manifest.diffusion.build_table("dpmpp_2m", 4),
        learning.table().table(manifest.diffusion.build_schedule(), "v"),
    ):
        plain = draw(
            learning._model.network,
            table,
            seeds=seeds,
            labels=seeds % 3,
            guidance_scale=1.5,
            guidance_interval=interval,
        )
        torch.testing.assert_close(learning.draw(seeds).detach(), plain, atol=1e-4, rtol=0)


def test_learning_comes_nearer_to_the_teacher_on_noises_it_never_saw(tmp_path: Path) -> None:
    learning = learner(tmp_path)
    before = learning.held_out()
    for _ in range(BUDGET.iterations):
        learning.advance()
    assert learning.held_out() < 0.95 * before
    # What is stored draws what was learned.
    manifest, seeds = learning._model.manifest, torch.arange(24, 30)
    learned = learning.table()
    stored = draw(
        learning._model.network,
        learned.table(manifest.diffusion.build_schedule(), "v"),
        seeds=seeds,
        labels=seeds % 3,
        guidance_scale=1.5,
        guidance_interval=learned.guidance_interval,
    )
    torch.testing.assert_close(learning.draw(seeds).detach(), stored, atol=1e-4, rtol=0)


def test_a_table_that_goes_on_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, first = learner(tmp_path), learner(tmp_path)
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "state.safetensors")
    second = learner(tmp_path)
    second.resume(tmp_path / "state.safetensors")
    for _ in range(3):
        second.advance()
    assert second.table() == whole.table()


def test_the_command_notes_the_table_in_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(teacher(tmp_path))
    middle = ["--guidance-interval", "0.25", "0.75"]
    assert main(["distill", "tables", folder, "--steps", "4", *middle, *SET]) == 0
    assert "noted in" in capsys.readouterr().out
    manifest = load_model(teacher(tmp_path)).manifest
    (table,) = manifest.distilled.tables
    assert (table.steps, table.guidance_scale, table.guidance_interval) == (4, 1.5, MIDDLE)
    settings = chosen_settings(manifest, sampler="learned", steps=4)
    assert settings.guidance_interval == MIDDLE, "as it was learned, unless another is asked for"
    assert chosen_settings(
        manifest, sampler="learned", steps=4, guidance_interval=(0.0, 1.0)
    ).guidance_interval == (0.0, 1.0)
    assert manifest.distilled.samplers[-1] == "learned"
    sheet = tmp_path / "sheet.png"
    drawing = ["sample", folder, "--sampler", "learned", "--class", "all", "--out", str(sheet)]
    assert main([*drawing, "--steps", "4"]) == 0
    assert sheet.is_file()
    assert main([*drawing, "--steps", "5"]) == 2
    assert "sampler learned takes 4 at guidance 1.5" in capsys.readouterr().err
    again = ["distill", "tables", folder, "--steps", "4", *SET]
    assert main(again) == 2
    assert "has a table for 4 steps at guidance 1.5" in capsys.readouterr().err
    assert main([*again, "--replace"]) == 0
    assert len(read_manifest(resolve(teacher(tmp_path))).distilled.tables) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "1"], "--steps 1: tables are learned for 2 to 50 steps"),
        (["--steps", "4", "--guidance-scale", "30"], "--guidance-scale 30 is not in 0 ... 20"),
        (["--steps", "4", "--set", "tables.batch=0"], "tables.batch = 0 is not in 1 ... 4096"),
        (["--steps", "4", "--set", "tables.learning_rate=2"], "is not above 0 and at most 1"),
        (["--steps", "4", "--guidance-interval", "0.9", "0.3"], "0.9, 0.3] is no [from, to]"),
        (["--steps", "4", "--resume"], "is not there to go on from; leave out --resume"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    few = ["--set", "tables.noises=2", "--set", "tables.teacher_steps=2"]
    assert main(["distill", "tables", str(teacher(tmp_path)), *few, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_consistency_model_learns_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = student_run(tmp_path, "consistency")
    run.run(until=4)
    assert main(["distill", "tables", str(run.folder), "--steps", "4"]) == 2
    assert "is a consistency model, which has its own table" in capsys.readouterr().err
