"""A run's figures in Weights & Biases or MLflow, by `--track`: their packages are extras.

Where they send what, and under which account, their own environment variables say: WANDB_MODE
(`offline` sends nothing), WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from training.errors import TrainingError

Service = Literal["wandb", "mlflow"]
SERVICES: tuple[Service, ...] = get_args(Service)
_PROJECT = "emaki"
_LONGEST = 500  # characters of a parameter in MLflow


class Tracker(Protocol):
    """Takes figures and strips."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""

    def show(self, step: int, strip: Path) -> None:
        """A denoising strip."""

    def close(self) -> None:
        """No more will come."""


def open_tracker(service: Service, folder: Path, config: Mapping[str, Any]) -> Tracker:
    """Begin, or go on, where ``folder`` is the model's.

    Raises:
        TrainingError: its package is not installed, or it refuses.
    """
    try:
        if service == "wandb":
            return _WeightsAndBiases(folder, config)
        return _MLflow(folder, config)
    except ImportError as error:
        raise TrainingError(
            f"--track {service} needs a package that is not installed; pip install "
            f"'emaki[{service}]'"
        ) from error
    except Exception as error:  # whatever their clients raise: no account, no network
        raise TrainingError(f"--track {service}: {error}") from error


class _WeightsAndBiases:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._image = wandb.Image
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=folder.name,
            id=_identity(folder),
            resume="allow",
            dir=folder.resolve(),  # a process of its own writes there, which may run elsewhere
            config=dict(config),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def show(self, step: int, strip: Path) -> None:
        self._run.log({"strip": self._image(str(strip))}, step=step)

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        tag = _identity(folder)
        before = self._client.search_runs([experiment], f"tags.`emaki.run` = '{tag}'")
        if before:
            self._id = before[0].info.run_id
            self._client.update_run(self._id, "RUNNING")
            return
        run = self._client.create_run(experiment, tags={"emaki.run": tag}, run_name=folder.name)
        self._id = run.info.run_id
        for section, fields in config.items():
            for key, value in fields.items() if isinstance(fields, Mapping) else ():
                self._client.log_param(self._id, f"{section}.{key}", str(value)[:_LONGEST])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def show(self, step: int, strip: Path) -> None:
        self._client.log_artifact(self._id, str(strip), f"strips/{step}")

    def close(self) -> None:
        self._client.set_terminated(self._id)


def _identity(folder: Path) -> str:
    """The same for a run that goes on, another for one of that name elsewhere."""
    place = blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
    return f"{folder.name}-{place}"
