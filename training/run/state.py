"""What a run needs to go on: network, EMA and optimizer, as one flat dictionary of tensors.

There is no generator state: every random number is a function of (seed, step).
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.checkpoint import RESUME, read_manifest, steps_of, verify
from models.ema import EMA
from models.manifest import step_name
from models.unet import UNet, UNetConfig
from training.config import Config
from training.errors import TrainingError
from training.pictures.data import Pictures

_OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq")


def resume_state(
    step: int, network: UNet, ema: EMA, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything as it is after ``step`` optimizer steps."""
    state = {"step": torch.tensor(step), "ema_updates": torch.tensor(ema.updates)}
    for name, parameter in network.named_parameters():
        state[f"network.{name}"] = parameter
        state[f"ema.{name}"] = ema.weights[name]
        for key in _OPTIMIZER_KEYS:
            state[f"optimizer.{key}.{name}"] = optimizer.state[parameter][key]
    return state


@torch.no_grad()
def load_state(folder: Path, network: UNet, ema: EMA, optimizer: torch.optim.Optimizer) -> int:
    """Restore what ``resume_state`` saved in a checkpoint's folder; returns its step.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    verify(folder, read_manifest(folder), name=RESUME)
    state = load_file(folder / RESUME)
    ema.updates = int(state["ema_updates"])
    for name, parameter in network.named_parameters():
        parameter.copy_(state[f"network.{name}"])
        ema.weights[name].copy_(state[f"ema.{name}"])
        # The moments share their parameter's device and memory layout, as the fused kernel wants.
        optimizer.state[parameter] = {
            "step": state[f"optimizer.step.{name}"].to(parameter.device),
            **{
                key: torch.empty_like(parameter).copy_(state[f"optimizer.{key}.{name}"])
                for key in _OPTIMIZER_KEYS[1:]
            },
        }
    return int(state["step"])


def require_same_run(
    model_folder: Path, config: Config, network: UNetConfig, data: Pictures
) -> Path:
    """The newest checkpoint's folder, if going on from it makes the same run.

    Raises:
        TrainingError: there is none, or it was trained with another network or other data.
    """
    steps = steps_of(model_folder)
    if not steps:
        raise TrainingError(f"{model_folder} has no checkpoint to resume; leave out --resume")
    folder = model_folder / step_name(steps[-1])
    manifest = read_manifest(folder)
    for section, before, now in (
        ("network", manifest.network, network),
        ("diffusion", manifest.diffusion, config.diffusion),
    ):
        if before != now:
            raise TrainingError(
                f"{folder} was trained with another [{section}]; start afresh with another --name"
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
    if trained.get("sha256") != data.fingerprint:
        why = ""
        if trained.get("held_out", 0) != data.held_out:
            why = (
                f" (it held out a share of {trained.get('held_out', 0):g}, now {data.held_out:g}: "
                f"keep it with --set data.hold_out={trained.get('held_out', 0):g}, and leave the "
                "data's folders as they were)"
            )
        raise TrainingError(f"{folder} was trained on other data{why}; start with another --name")
    return folder
