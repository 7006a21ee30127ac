"""Power-function averages against closed forms, and an EMA's length chosen after training."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import load_model
from models.checkpoint import RESUME, read_manifest, resolve, write_manifest
from models.distilled import LearnedTable
from tests.training.run.test_loop import trainer
from training.__main__ import main
from training.run.averages import (
    STDS,
    PowerAverages,
    combine,
    decay_at,
    gamma_of,
    inner_product,
    solve,
)


class Number(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1, dtype=torch.float64))


def test_the_papers_lengths_have_the_papers_exponents() -> None:
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.005)
    assert gamma_of(0.10) == pytest.approx(6.94, abs=0.005)
    for gamma in (0.5, 3.0, 40.0):
        std = (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)
        assert gamma_of(std) == pytest.approx(gamma)
    with pytest.raises(ValueError, match=r"0.3 is not within 0 ... 0.28"):
        gamma_of(0.3)


def test_a_profile_has_the_standard_deviation_that_names_it() -> None:
    tau = (np.arange(200_000) + 0.5) / 200_000
    for std in (0.03, 0.1, 0.2):
        profile = tau ** gamma_of(std)
        profile /= profile.sum()
        mean = (tau * profile).sum()
        assert (((tau - mean) ** 2 * profile).sum()) ** 0.5 == pytest.approx(std, rel=1e-3)


def test_inner_products_are_the_integrals() -> None:
    tau = (np.arange(400_000) + 0.5) / 400_000 * 300

    def profile(step: float, gamma: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        inside = np.where(tau < step, tau, 0.0)
        return np.asarray((gamma + 1) * inside**gamma / step ** (gamma + 1))

    for a, b in (((100.0, 3.0), (300.0, 7.0)), ((300.0, 2.0), (200.0, 16.97))):
        integral = float((profile(*a) * profile(*b)).sum() * 300 / len(tau))
        assert inner_product(*a, *b) == pytest.approx(integral, rel=1e-3)
        assert inner_product(*b, *a) == pytest.approx(integral, rel=1e-3)


def test_decays_follow_a_ramp_as_the_integral_says() -> None:
    """The average of tau over the profile up to t is (gamma + 1) / (gamma + 2) t."""
    gamma, average = gamma_of(0.1), 0.0
    for step in range(1, 4001):
        decay = decay_at(step, gamma)
        average = decay * average + (1 - decay) * step
    assert average == pytest.approx((gamma + 1) / (gamma + 2) * 4000, rel=1e-3)
    assert decay_at(1, gamma) == 0  # the first weights count for nothing


def test_a_length_that_was_tracked_is_found_as_it_is() -> None:
    stored = [(step, std) for step in (100, 200, 300) for std in STDS]
    factors = solve(stored, 300, STDS[1])
    assert factors == pytest.approx([0, 0, 0, 0, 0, 1], abs=1e-6)


@pytest.mark.parametrize("std", [0.03, 0.07, 0.15])
def test_another_length_is_what_tracking_it_would_have_given(std: float) -> None:
    network = Number()
    tracked, averages, snapshots = 0.0, PowerAverages(network), []
    random = np.random.default_rng(0)
    for step in range(1, 801):
        with torch.no_grad():
            network.value.add_(0.1 * random.standard_normal() + 0.01)
        averages.update(step)
        decay = decay_at(step, gamma_of(std))
        tracked = decay * tracked + (1 - decay) * network.value.item()
        if step % 50 == 0:
            kept = {key: value.clone() for key, value in averages.state().items()}
            snapshots.append((step, kept))
    (found,) = combine(snapshots, step=800, std=std).values()
    spread = max(abs(network.value.item() - tracked), 0.1)
    assert abs(found.item() - tracked) < 0.05 * spread + 0.01


def test_a_run_keeps_snapshots_and_its_ema_gets_another_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path, "out", "train.snapshot_every=3")
    run.run(until=12)
    folder = run.folder
    assert main(["average", str(folder), "0.1", "--step", "11", "--name", "early"]) == 0
    assert load_model(folder.parent / "early").manifest.step == 9
    assert main(["average", str(folder), "0.1"]) == 0
    model = load_model(folder.parent / "shapes-ema-0.1")
    assert run.learner.averages is not None
    for name, value in model.network.named_parameters():  # 0.1 was tracked
        torch.testing.assert_close(value, run.learner.averages.weights[0.1][name])
    assert model.manifest.training["ema"]["relative_std"] == 0.1
    capsys.readouterr()
    assert main(["average", str(folder), "0.4", "--name", "x"]) == 2
    assert "0.4 is not within 0 ... 0.28" in capsys.readouterr().err


def test_what_a_dead_run_left_behind_is_not_averaged(tmp_path: Path) -> None:
    every = ("train.snapshot_every=1", "train.report_every=1", "train.save_every=100")
    dead = trainer(tmp_path, "out", *every)
    dead.run(until=4)
    shutil.rmtree(dead.folder / "0000004")  # as if it was killed before
    run = trainer(tmp_path, "out", *every, "train.seed=7")
    run.run(until=2)
    for folder in ("snapshots", "reports"):
        steps = {path.stem for path in (run.folder / folder).iterdir() if path.stem.isdecimal()}
        assert steps == {"0000001", "0000002"}


def test_an_average_has_no_tables_of_other_weights_and_a_name_that_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path, "out", "train.snapshot_every=1")
    run.run(until=2)
    folder = resolve(run.folder)
    manifest = read_manifest(folder)
    rows = {"a": (1.0, 0.0), "b": (0.5, 1.0), "c": (0.0, 0.0)}
    table = LearnedTable(guidance_scale=1.5, t=(9.0, 4.0), **rows)
    distilled = replace(manifest.distilled, tables=(table,))
    write_manifest(folder, replace(manifest, distilled=distilled))
    assert main(["average", str(run.folder), "0.1"]) == 0
    averaged = read_manifest(resolve(folder.parents[1] / "shapes-ema-0.1"))
    assert averaged.distilled.tables == ()
    assert main(["average", str(run.folder), "0.1", "--name", "No Name"]) == 2
    assert "'No Name'" in capsys.readouterr().err


def test_averages_resume_bit_for_bit(tmp_path: Path) -> None:
    every = "train.snapshot_every=4"
    whole = trainer(tmp_path, "whole", every)
    whole.run(until=8)
    trainer(tmp_path, "parts", every).run(until=5)
    second = trainer(tmp_path, "parts", every)
    second.resume()
    second.run(until=8)
    for name in (f"0000008/{RESUME}", "snapshots/0000008.safetensors"):
        assert (whole.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_a_run_without_snapshots_says_how_to_have_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path)
    run.run(until=2)
    assert main(["average", str(run.folder), "0.1"]) == 2
    assert "train with train.snapshot_every" in capsys.readouterr().err
