"""What a network learns: its shape, its objective, where it starts, and what it can do then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.distilled import Distilled
from models.unet import UNetConfig
from training.config import Config
from training.pictures.data import Pictures
from training.run.objective import Objective


@dataclass(frozen=True)
class Lesson:
    """Everything about a run's network that the loop need not know.

    Attributes:
        weights: where it starts; None: at random.
        distilled: what its checkpoints can be asked for.
        facts: what else their manifests say under ``training``; a resumed run has the same.
    """

    shape: UNetConfig
    objective: Objective
    weights: Mapping[str, Tensor] | None = None
    distilled: Distilled = field(default_factory=Distilled)
    facts: Mapping[str, Any] = field(default_factory=dict)


def denoising(config: Config, data: Pictures, device: torch.device) -> Lesson:
    """A network that learns from pictures alone."""
    shape = config.network.build(
        config.data,
        len(data.classes),
        null_class=config.train.label_dropout > 0 and bool(data.classes),
    )
    objective = Objective(
        config,
        classes=shape.num_class_embeds is not None,
        null_class=shape.null_class,
        device=device,
    )
    return Lesson(shape, objective)
