"""Where and when a figure was measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch


def describe() -> str:
    """One line: date, processor, cores, load, versions."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {model}, {cores} cores, load {load:.1f}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
