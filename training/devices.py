"""Which device a command computes on."""

import torch

from training.errors import TrainingError


def pick_device(name: str) -> torch.device:
    """CUDA for "auto" where there is one; a device that is not there is a TrainingError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"--device {name!r} is not a device: auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this machine or torch build has no CUDA; use cpu")
    return device
