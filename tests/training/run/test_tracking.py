"""Weights & Biases and MLflow get the curves, offline; what fails there does not end the run."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import eventually
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
