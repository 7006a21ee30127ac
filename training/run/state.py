"""What a run needs to go on: network, EMA and optimizer, as one flat dictionary of tensors.

There is no generator state: every random number is a function of (seed, step).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.checkpoint import RESUME, read_manifest, steps_of, verify
from models.manifest import step_name
from models.unet import UNetConfig
from training.config import Run
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.run.learner import Learner
from training.run.lesson import Lesson

_OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq")


def resume_state(learner: Learner) -> dict[str, Tensor]:
    """Everything as it is after the learner's last optimizer step."""
    state = {"step": torch.tensor(learner.step), "ema_updates": torch.tensor(learner.ema.updates)}
    for name, parameter in learner.network.named_parameters():
        state[f"network.{name}"] = parameter
        state[f"ema.{name}"] = learner.ema.weights[name]
        state |= _moments(learner, name, parameter)
    for name, parameter in _parts(learner):
        state[name] = parameter
        state |= _moments(learner, name, parameter)
    if learner.averages is not None:
        state |= learner.averages.state()
    return state


def read_state(folder: Path) -> dict[str, Tensor]:
    """What ``resume_state`` saved in a checkpoint's folder.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    verify(folder, read_manifest(folder), name=RESUME)
    return load_file(folder / RESUME)


@torch.no_grad()
def load_state(folder: Path, state: Mapping[str, Tensor], learner: Learner) -> None:
    """Restore what ``resume_state`` saved; ``folder`` is where, for messages."""
    learner.step, learner.ema.updates = int(state["step"]), int(state["ema_updates"])
    for name, parameter in learner.network.named_parameters():
        parameter.copy_(state[f"network.{name}"])
        learner.ema.weights[name].copy_(state[f"ema.{name}"])
        _load_moments(learner, name, parameter, state)
    if learner.averages is not None:
        try:
            learner.averages.load(state)
        except KeyError as error:
            raise TrainingError(
                f"{folder} was trained without snapshots; start with another --name, or set "
                "train.snapshot_every = 0"
            ) from error
    for name, parameter in _parts(learner):
        if name not in state:
            raise TrainingError(
                f"{folder} was trained without {name}; start with another --name, or set "
                "train.uncertainty = false"
            )
        parameter.copy_(state[name])
        _load_moments(learner, name, parameter, state)


def _parts(learner: Learner) -> list[tuple[str, nn.Parameter]]:
    if learner.parts is None:
        return []
    return [(f"parts.{name}", value) for name, value in learner.parts.named_parameters()]


def _moments(learner: Learner, name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
    moments = learner.optimizer.state[parameter]
    return {f"optimizer.{key}.{name}": moments[key] for key in _OPTIMIZER_KEYS}


def _load_moments(
    learner: Learner, name: str, parameter: nn.Parameter, state: Mapping[str, Tensor]
) -> None:
    # The moments share their parameter's device and memory layout, as the fused kernel wants.
    learner.optimizer.state[parameter] = {
        "step": state[f"optimizer.step.{name}"].to(parameter.device),
        **{
            key: torch.empty_like(parameter).copy_(state[f"optimizer.{key}.{name}"])
            for key in _OPTIMIZER_KEYS[1:]
        },
    }


def require_same_run(model_folder: Path, config: Run, lesson: Lesson, data: Pictures) -> Path:
    """The newest checkpoint's folder, if going on from it makes the same run.

    Its pictures may be others, and of more classes: see `training.run.lineage.changes`.

    Raises:
        TrainingError: there is none, or it was trained with another network or other data.
    """
    steps = steps_of(model_folder)
    if not steps:
        raise TrainingError(f"{model_folder} has no checkpoint to resume; leave out --resume")
    folder = model_folder / step_name(steps[-1])
    manifest = read_manifest(folder)
    for section, before, now in (
        ("network", _without_classes(manifest.network), _without_classes(lesson.shape)),
        ("diffusion", manifest.diffusion, config.diffusion),
    ):
        if before != now:
            raise TrainingError(
                f"{folder} was trained with another [{section}]; start afresh with another --name"
            )
    for key, fact in lesson.facts.items():
        noted = manifest.training.get(key)
        if noted != fact:
            raise TrainingError(
                f"{folder} was trained with {key} {noted}, not {fact}; start with another --name"
            )
    train = manifest.training.get("config", {}).get("train", {})
    for name in ("seed", "batch_size"):
        wanted = getattr(config.train, name)
        if train.get(name, wanted) != wanted:
            raise TrainingError(
                f"{folder} was trained with train.{name} = {train[name]}, not {wanted}: the "
                "order of the pictures would change; keep it, or start with another --name"
            )
    trained = manifest.training.get("data", {})
    if trained.get("held_out", 0) != data.held_out:
        raise TrainingError(
            f"{folder} was trained on other data (it held out a share of "
            f"{trained.get('held_out', 0):g}, now {data.held_out:g}: keep it with --set "
            f"data.hold_out={trained.get('held_out', 0):g}, and leave the data's folders as they "
            "were); start with another --name"
        )
    return folder


def _without_classes(network: UNetConfig) -> UNetConfig:
    """The network but for how many classes it has."""
    classes = None if network.num_class_embeds is None else 2
    null = None if network.null_class is None else 1
    return replace(network, num_class_embeds=classes, null_class=null)
