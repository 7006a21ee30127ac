"""What several tests need: small checkpoints, free ports, patience."""

import contextlib
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from models.checkpoint import publish, save_checkpoint
from models.manifest import Defaults, Diffusion, Manifest
from models.unet import UNet, UNetConfig
from wire.record import Record
from wire.schemas import ResolvedRequest

CLASSES = ("Circle", "Square", "Ankle boot")
T = TypeVar("T")


def tiny_config(**changes: Any) -> UNetConfig:
    """A network of a few thousand parameters for 8x8 grey pictures of three classes."""
    settings: dict[str, Any] = {
        "channels": 1,
        "size": (8, 8),
        "block_channels": (8, 8),
        "blocks_per_level": 1,
        "attention_levels": (False, True),
        "norm_groups": 4,
        "num_class_embeds": 4,
        "null_class": 3,
    }
    return UNetConfig(**{**settings, **changes})


def write_checkpoint(
    root: Path,
    name: str = "tiny",
    *,
    step: int = 1,
    config: UNetConfig | None = None,
    classes: tuple[str, ...] = CLASSES,
    published: bool = True,
) -> Path:
    """A checkpoint with random weights that depend on name and step alone."""
    torch.manual_seed(sum(name.encode()) * 1000 + step)
    network = UNet(config or tiny_config())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5).add_(torch.randn_like(parameter) * 0.05)
    manifest = Manifest(
        name=name,
        step=step,
        network=network.config,
        diffusion=Diffusion(schedule="cosine", timesteps=1000, prediction="v"),
        classes=classes,
        defaults=Defaults(steps=5, guidance_scale=1.5 if classes else 1.0),
    )
    folder = save_checkpoint(root, manifest, weights=network.state_dict())
    if published:
        publish(root, name, step)
    return folder


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(look: Callable[[], T | None], *, seconds: float = 30.0, what: str = "it") -> T:
    """Look again and again until the answer is true; fail when it takes too long.

    The longer it has taken, the less often: to look costs the one who is looked at.
    """
    began = time.monotonic()
    while True:
        answer = look()
        if answer:
            return answer
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(min(0.02 + waited / 20, 0.2))


def fresh_record(owner: str = "", **changes: Any) -> Record:
    """A generation that was just asked for: one Circle of the tiny model in ten steps."""
    batch = changes.get("batch", 1)
    wanted = {
        "model": "tiny@0000001",
        "seed": 1,
        "steps": 10,
        "batch": batch,
        "classes": [0] * batch,
        "class_names": ["Circle"] * batch,
        "guidance_scale": 1.0,
        "sampler": "dpmpp_2m",
        "eta": 0.0,
        "scale": 1,
        **changes,
    }
    return Record(
        id=uuid.uuid4().hex,
        owner=owner,
        request=ResolvedRequest.model_validate(wanted),
        created=time.time(),
        result_ttl=60,
    )
