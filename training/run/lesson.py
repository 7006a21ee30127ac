"""What a network learns: its shape, its objective, where it starts, and what it can do then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.distilled import Distilled
from models.unet import UNetConfig
from training.config import Config
from training.encoding.inputs import Inputs, network_shape, prepare
from training.pictures.data import Pictures
from training.run.lineage import Parent, summary
from training.run.objective import Objective


def _silence(_text: str) -> None:
    """For all but the first of several processes."""


@dataclass(frozen=True)
class Lesson:
    """Everything about a run's network that the loop need not know.

    Attributes:
        inputs: what the network is given of the pictures; None: their pixels and labels.
        weights: where it starts; None: at random.
        distilled: what its checkpoints can be asked for.
        facts: what else their manifests say under ``training``; a resumed run has the same.
    """

    shape: UNetConfig
    objective: Objective
    inputs: Inputs | None = None
    weights: Mapping[str, Tensor] | None = None
    distilled: Distilled = field(default_factory=Distilled)
    facts: Mapping[str, Any] = field(default_factory=dict)


def denoising(
    config: Config,
    data: Pictures,
    device: torch.device,
    *,
    parent: Parent | None = None,
    say: Callable[[str], None] = _silence,
) -> Lesson:
    """A network that learns from pictures, and from what is said about them.

    Args:
        parent: the model that it begins from; None: it begins at random.
    """
    shape = network_shape(config, len(data.classes))
    inputs = prepare(config, data, device=device, say=say)
    objective = Objective(
        config,
        classes=shape.num_class_embeds is not None or shape.text is not None,
        null_class=shape.null_class if inputs.null is None else inputs.null,
        device=device,
        shape=inputs.shape,
    )
    if parent is None:
        return Lesson(shape, objective, inputs, facts=inputs.facts)
    parent.require_alike(config, data, autoencoder=inputs.facts.get("autoencoder"))
    inherited = parent.weights_for(shape, data.classes, config.train.seed)
    say(summary(parent, inherited))
    facts = {**inputs.facts, **parent.facts()}
    return Lesson(shape, objective, inputs, inherited.weights, facts=facts)
