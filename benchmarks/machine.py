"""Where and when a figure was measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch


def pick_device() -> torch.device:
    """CUDA where there is one, as the worker chooses."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def settle(device: torch.device) -> None:
    """Wait for the device, so that a clock read next is true."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def describe() -> str:
    """One line: date, processor, cores, load, versions."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {model}, {cores} cores, load {load:.1f}, "
        f"{device}, Python {platform.python_version()}, torch {torch.__version__}"
    )
