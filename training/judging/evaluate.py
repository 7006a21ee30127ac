"""`evaluate`: does a model draw what it is asked for?

Class agreement: the share of drawn pictures that a classifier of real pictures sees as the class
that was asked for, beside its share on real test pictures, which bounds what agreement can mean.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from models.checkpoint import Model
from models.manifest import Defaults
from models.sample import draw
from training.errors import TrainingError
from training.judging.classifier import EXTRACTOR, cached_classifier, predict, to_pixels
from training.pictures.data import Pictures

_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was measured, and under which conditions."""

    drawn: float
    real: float
    per_class: dict[str, float]
    images: int
    settings: Defaults
    images_per_second: float

    @property
    def ratio(self) -> float:
        """Agreement on drawn pictures relative to real ones."""
        return self.drawn / self.real

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {
            "drawn": round(self.drawn, 4),
            "real": round(self.real, 4),
            "ratio": round(self.ratio, 4),
            "images": self.images,
            "sampler": self.settings.sampler,
            "steps": self.settings.steps,
            "guidance_scale": self.settings.guidance_scale,
            "extractor": EXTRACTOR,
            "per_class": {name: round(share, 4) for name, share in self.per_class.items()},
        }


def measure_agreement(
    model: Model,
    settings: Defaults,
    *,
    train: Pictures,
    test: Pictures,
    images: int,
    say: Callable[[str], None],
) -> Agreement:
    """Draw ``images`` pictures, classes in turn, picture i from seed i, and judge them.

    Raises:
        TrainingError: the model draws without classes, or the data has others.
    """
    manifest = model.manifest
    if not manifest.classes:
        raise TrainingError(f"{manifest.version} has no classes; class agreement needs them")
    if manifest.classes != train.classes:
        raise TrainingError(
            f"{manifest.version} was trained on other classes than the data has; give the data "
            "set that it was trained on with --data"
        )
    device = next(model.network.parameters()).device
    classifier = cached_classifier(train, device=device, say=say)
    real = (predict(classifier, to_pixels(test.images)).numpy() == test.labels).mean()
    table = manifest.build_table(
        settings.sampler, settings.steps, guidance_scale=settings.guidance_scale
    )
    seeds = torch.arange(images)
    wanted = seeds % len(manifest.classes)
    began, agrees = time.monotonic(), []
    for part in torch.split(seeds, _BATCH):
        pictures = draw(
            model.network,
            table,
            seeds=part,
            labels=wanted[part],
            guidance_scale=settings.guidance_scale,
            clip=manifest.diffusion.clip,
        )
        agrees.append(predict(classifier, pictures) == wanted[part])
        say(f"drew {int(part[-1]) + 1} of {images}: {torch.cat(agrees).float().mean():.1%} agree")
    agreed = torch.cat(agrees).float()
    return Agreement(
        drawn=float(agreed.mean()),
        real=float(real),
        per_class={
            name: float(agreed[wanted == label].mean())
            for label, name in enumerate(manifest.classes)
            if label in wanted  # fewer pictures than classes leave some out
        },
        images=images,
        settings=settings,
        images_per_second=images / (time.monotonic() - began),
    )
