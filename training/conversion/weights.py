"""A UNet2DModel's safetensors: read under today's names and checked, written as diffusers does."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.unet import UNet, UNetConfig
from training.conversion.unet import CONFIG
from training.errors import TrainingError

UNET_WEIGHTS = "diffusion_pytorch_model.safetensors"
_PICKLE = "diffusion_pytorch_model.bin"
# Attention layers had other names before diffusers 0.14.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_weights(folder: Path, network: UNetConfig) -> dict[str, Tensor]:
    """The network's tensors under today's names, checked against what the network needs.

    Raises:
        TrainingError: no safetensors, a damaged file, or tensors that are not the network's.
    """
    path = folder / UNET_WEIGHTS
    if not path.is_file():
        if (folder / _PICKLE).is_file():
            raise TrainingError(
                f"{folder / _PICKLE} is a pickle, which can run any code and is never loaded; "
                "rewrite it as safetensors where you trust it: UNet2DModel.from_pretrained(FROM, "
                "use_safetensors=False).save_pretrained(FROM)"
            )
        raise TrainingError(f"{path} is missing; only whole, unsharded safetensors are read")
    try:
        weights = {_new_name(key): value for key, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; fetch it again") from error
    with torch.device("meta"):
        wanted = UNet(network).state_dict()
    for key in sorted(set(wanted) ^ set(weights)):
        fault = "lacks" if key in wanted else "has an unknown"
        raise TrainingError(f"{path} {fault} tensor {key}: it does not fit {folder / CONFIG}")
    for key, value in weights.items():
        if value.shape != wanted[key].shape:
            raise TrainingError(
                f"{path}: {key} has shape {list(value.shape)}, {folder / CONFIG} means "
                f"{list(wanted[key].shape)}"
            )
    return weights


def _new_name(key: str) -> str:
    layer, dot, leaf = key.rpartition(".")
    parent, _, last = layer.rpartition(".")
    return f"{parent}.{_OLD_NAMES[last]}{dot}{leaf}" if last in _OLD_NAMES else key


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write a network's tensors, in the dtype they have; returns the file."""
    path = folder / UNET_WEIGHTS
    save_file(dict(weights), path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors keeps new files to their owner
    return path
