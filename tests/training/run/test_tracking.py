"""Weights & Biases and MLflow get the curves, offline; what fails there does not end the run."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support import eventually
from tests.training.data import CONFIG as SHAPES
from tests.training.data import write_idx
from training.__main__ import main
from training.errors import TrainingError
from training.run.scalars import Scalars
from training.run.tracking import open_tracker

CONFIG = {"name": "shapes", "train": {"learning_rate": 0.001, "steps": 12}}


def test_mlflow_keeps_figures_parameters_and_strips_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    folder = tmp_path / "shapes"
    strip = tmp_path / "0000010.png"
    strip.write_bytes(b"png")
    for step in (10, 20):
        tracker = open_tracker("mlflow", folder, CONFIG)
        tracker.log(step, {"loss": 1 / step})
        tracker.show(step, strip)
        tracker.close()
    client = mlflow.tracking.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'emaki'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["train.learning_rate"] == "0.001"
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(10, 0.1), (20, 0.05)]
    assert [one.path for one in client.list_artifacts(run.info.run_id, "strips/20")]


def test_weights_and_biases_keeps_a_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "shapes"
    folder.mkdir()
    tracker = open_tracker("wandb", folder, CONFIG)
    tracker.log(10, {"loss": 0.5})
    tracker.close()
    (written,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    eventually(lambda: b"loss" in written.read_bytes(), what="a figure in the file")


def test_a_run_that_is_tracked_sends_its_curves_and_strips_and_goes_on_as_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    Path("shapes.toml").write_text(SHAPES)
    write_idx(tmp_path / "data")
    command = ["train", "shapes.toml", "--data", "data", "--track", "wandb", "--set"]
    for until, more in (("4", []), ("8", ["--resume"])):
        often = ["train.report_every=4", "--until", until, *more]
        assert main([*command, *often]) == 0
    assert "warning" not in capsys.readouterr().err
    folder = tmp_path / "checkpoints/shapes"
    first, second = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert first.name == second.name  # by the run's identity
    for written, step in ((first, 4), (second, 8)):
        names = ("gradient_norm", "training_loss", "pictures_per_second", "min_snr_gamma")
        eventually(partial(_holds, written, names), what="figures and settings in the file")
        (sent,) = written.parent.glob("files/media/images/strip_*.png")
        drawn = folder / f"reports/{step:07}.png"
        assert sent.read_bytes() == drawn.read_bytes()


def _holds(path: Path, names: Sequence[str]) -> bool:
    found = path.read_bytes()
    return all(name.encode() in found for name in names)


class Broken:
    """A service that goes away."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        raise RuntimeError(f"no route to host at step {step}, {len(values)} values")

    def show(self, step: int, strip: Path) -> None:
        raise AssertionError(f"it has gone: {step} {strip}")

    def close(self) -> None:
        raise AssertionError("it has gone")


def test_a_service_that_goes_away_does_not_end_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    with Scalars(tmp_path, first_step=0, wanted=True, say=said.append, tracker=Broken()) as scalars:
        scalars.add(1, loss=0.5)
        scalars.show(1, tmp_path / "x.png")
        scalars.add(2, loss=0.4)
    (line,) = said
    assert "curves for the tracking service (no route to host at step 1, 1 values)" in line
    assert "training goes on" in line


def test_a_service_without_its_package_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingError, match=r"pip install 'emaki\[wandb\]'"):
        open_tracker("wandb", tmp_path, CONFIG)
