"""Which device a command computes on."""

import torch

from models.arithmetic import computes_bfloat16
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


def described(device: torch.device, *, bf16: bool) -> str:
    """The device, and if bfloat16 was asked for and it has none, what it computes in instead."""
    if bf16 and not computes_bfloat16(device):
        return f"{device} (in float32: it has no instructions for bfloat16)"
    return str(device)
