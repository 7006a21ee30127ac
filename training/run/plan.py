"""A configuration for pictures that come without one: chosen from them, and from the machine.

Sizes, networks and schedules are those that the presets train with; how many steps there are is
what a first run's patience allows, at the speed that is measured here.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from models.sampler import SAMPLERS
from training.architecture import Network
from training.config import Config, apply_override, build_config
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.pictures.mixture import Asked
from training.run.glance import Glance, glance
from training.run.learner import Learner
from training.run.lesson import denoising
from training.run.lineage import Parent
from training.run.team import Team

MINUTES = 30.0
_MOST_EPOCHS = 1000
_FEW = 5000  # pictures; fewer want dropout
_STRIP_SECONDS = 45.0  # between strips, at least
_MEASURED = 3  # steps


def plan(
    asked: Sequence[Asked],
    *,
    name: str,
    device: torch.device,
    overrides: Sequence[str],
    parent: Parent | None = None,
    minutes: float = MINUTES,
) -> tuple[Config, list[str]]:
    """A configuration, and what was chosen, in words.

    Args:
        overrides: ``section.key=value`` that a person has chosen instead.
        parent: the model to begin from; its size, network and diffusion are kept.
        minutes: how long training may take.

    Raises:
        TrainingError: the data cannot be used, or an override does not belong.
    """
    chosen: dict[str, Any] = {}
    for override in overrides:
        apply_override(chosen, override)
    seen = glance(asked, str(chosen.get("data", {}).get("label", "label")))
    size = _asked_size(chosen)
    raw = _begun(seen, device, size) if parent is None else _inherited(parent, seen, size)
    raw["data"]["paths"] = [str(one) for one in asked]
    raw["train"] = {
        "steps": 1000,
        "batch_size": (32 if seen.pictures < 1000 else 64) * (1 if device.type == "cpu" else 2),
        "learning_rate": 1e-3 if device.type == "cpu" else 3e-4,
        "ema_decay": 0.999,
    }
    if parent is not None:
        raw["train"]["learning_rate"] /= 2
    for section, fields in chosen.items():
        raw.setdefault(section, {}).update(fields)
    config = build_config("the plan", raw, name=name)
    seconds = step_seconds(config, seen.classes, device)
    steps = chosen.get("train", {}).get("steps") or _steps(
        seen, config.train.batch_size, seconds, minutes
    )
    timed = _timed(steps, seconds)
    # What a person has chosen stays; the rest follows the speed.
    raw["train"] = {**raw["train"], **timed, **chosen.get("train", {})}
    config = build_config("the plan", raw, name=name)
    return config, _in_words(config, seen, seconds, device, parent)


def step_seconds(config: Config, classes: int, device: torch.device) -> float:
    """How long one optimizer step takes here, measured on blank pictures."""
    shape = (config.train.batch_size, config.data.channels, *config.data.size)
    names = tuple(map(str, range(classes)))
    labels = np.zeros(shape[0], dtype=np.int64)
    blank = Pictures(np.zeros(shape, dtype=np.uint8), labels, names, "")
    lesson = denoising(config, blank, device)
    learner = Learner(config, blank, lesson, device=device, team=Team())
    try:
        learner.advance()  # the first one also allocates
        began = time.monotonic()
        for _ in range(_MEASURED):
            loss = learner.advance().loss
        loss.item()  # waits for the device
        return (time.monotonic() - began) / _MEASURED
    finally:
        learner.close()


def _asked_size(chosen: Mapping[str, Any]) -> tuple[int, int] | None:
    """The (height, width) that a person has chosen; None where it was not, or is none."""
    match chosen.get("data", {}).get("size"):
        case int(side):
            return side, side
        case [int(height), int(width)]:
            return height, width
    return None


def _begun(seen: Glance, device: torch.device, size: tuple[int, int] | None) -> dict[str, Any]:
    """Size, network and process of a model that begins at random."""
    on_gpu = device.type != "cpu"
    most = 64 if on_gpu or (os.cpu_count() or 1) >= 8 else 32
    height, width = size or _size(seen, most)
    multipliers = [1, 2, 4, 4][: _levels(height, width)]
    levels = len(multipliers)
    heights = [height // 2**level for level in range(levels)]
    return {
        "data": {
            "size": [height, width],
            "channels": seen.channels,
            "flip": seen.channels == 3,
        },
        "network": {
            "base": 64 if on_gpu else 32,
            "multipliers": multipliers,
            "blocks_per_level": 2 if on_gpu else 1,
            "attention": [h for h in heights if h <= 16][:1] if on_gpu else heights[-2:][:1],
            "norm_groups": 16,
            "dropout": 0.1 if seen.pictures < _FEW else 0.0,
        },
        "diffusion": {"schedule": "cosine", "timesteps": 1000, "prediction": "v"},
        "publish": {"guidance_scale": 1.5 if seen.classes else 1.0},
    }


def _size(seen: Glance, most: int) -> tuple[int, int]:
    """The pictures' own size where all have one that will do; else a square in most of them."""
    only = set(seen.sizes)
    height, width = seen.sizes[0]
    if len(only) == 1 and max(height, width) <= most and not (height % 4 or width % 4):
        return height, width
    shorter = median(min(size) for size in seen.sizes)
    side = max(16, min(most, int(shorter) // 8 * 8))
    return side, side


def _levels(height: int, width: int) -> int:
    """Up to four, as long as both sides can be halved and two pixels are left."""
    levels = 1
    while levels < 4 and not (
        height % 2**levels or width % 2**levels or height < 2 ** (levels + 1)
    ):
        levels += 1
    return levels


def _inherited(parent: Parent, seen: Glance, asked: tuple[int, int] | None) -> dict[str, Any]:
    """The same of a model that begins from another; attention stays on the levels that have it."""
    manifest = parent.manifest
    before: Mapping[str, Any] = manifest.training.get("config", {})
    channels, height, width = manifest.picture_shape
    if manifest.latent is not None or manifest.text is not None:
        raise TrainingError(
            f"{manifest.version} works with text or latents: give its configuration, too "
            "(python -m training train CONFIG --init-from ...)"
        )
    try:
        network = replace(manifest.network, size=asked or (height, width))
    except ValueError as error:
        raise TrainingError(f"data.size for {manifest.version}: {error}") from error
    defaults = manifest.defaults
    plain = defaults.sampler in SAMPLERS
    diffusion = {
        key: value for key, value in manifest.to_json()["diffusion"].items() if value is not None
    }
    was = before.get("data", {})
    return {
        "data": {
            "size": list(network.size),
            "channels": channels,
            "flip": was.get("flip", seen.channels == 3),
            "resize": was.get("resize", "crop"),
        },
        "network": {
            key: value for key, value in vars(Network.of(network)).items() if value is not None
        },
        "diffusion": diffusion,
        "publish": {
            "sampler": defaults.sampler if plain else "dpmpp_2m",
            "steps": defaults.steps if plain else 20,
            "guidance_scale": defaults.guidance_scale if manifest.classes else 1.0,
            "license": before.get("publish", {}).get("license", "unknown"),
        },
    }


def _steps(seen: Glance, batch: int, seconds: float, minutes: float) -> int:
    """As many as fit into so many minutes, unless each picture would be shown too often."""
    steps = min(60 * minutes / seconds, _MOST_EPOCHS * seen.pictures / batch)
    return max(100, round(steps / 100) * 100)


def _timed(steps: int, seconds: float) -> dict[str, Any]:
    """The schedule of so many steps, and how often there is a strip and a checkpoint."""
    every = min(steps, max(10, _rounded(_STRIP_SECONDS / seconds)))
    return {
        "steps": steps,
        "warmup_steps": min(200, steps // 10),
        "ema_decay": 0.999 if steps >= 2000 else 0.99,
        "report_every": every,
        "save_every": every,
    }


def _rounded(value: float) -> int:
    """Tens, or of large numbers fifties, just below a number of steps."""
    return int(value // 50 * 50) if value >= 100 else int(value // 10 * 10)


def _in_words(
    config: Config, seen: Glance, seconds: float, device: torch.device, parent: Parent | None
) -> list[str]:
    height, width = config.data.size
    train = config.train
    colour = {1: "grey", 3: "colour", 4: "colour with transparency"}[config.data.channels]
    shorter = f"{min(map(min, seen.sizes))} to {max(map(min, seen.sizes))}"
    first = (
        f"pictures: {width}x{height} {colour}, of {seen.pictures} whose shorter side has {shorter} "
        f"pixels{', mirrored at random' if config.data.flip else ''}"
    )
    network = (
        f"network: {'that of ' + parent.manifest.version if parent else 'a small one'}, "
        f"{config.network.base} channels x {list(config.network.multipliers)}"
    )
    steps = train.steps * seconds
    lines = [
        first,
        network,
        f"schedule: {train.steps} steps of {train.batch_size} pictures, "
        f"{train.steps * train.batch_size / seen.pictures:.0f} times each; at {seconds:.2f} s a "
        f"step on {device} about {_minutes(steps)}, the first strip after "
        f"{_minutes(train.report_every * seconds)}",
    ]
    if seen.described:
        lines.append(
            "captions are passed over: a configuration with [text] learns from them, see "
            "docs/training.md"
        )
    return lines


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
