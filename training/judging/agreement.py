"""Class agreement: does a model draw what it is asked for?

The share of drawn pictures that a classifier of real pictures sees as the class that was asked for,
beside its share on unseen real pictures, which bounds what agreement can mean.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from models.checkpoint import Model
from models.manifest import Defaults, Manifest
from training.errors import TrainingError
from training.judging.classifier import EXTRACTOR, Classifier, cached_classifier, predict
from training.judging.drawing import Drawn, draw_pictures, settings_to_json
from training.pictures.data import Pictures


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was measured, and under which conditions."""

    drawn: float
    real: float
    per_class: dict[str, float]
    images: int
    settings: Defaults

    @property
    def ratio(self) -> float:
        """Agreement on drawn pictures relative to real ones."""
        return share_of(self.drawn, self.real)

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {
            "drawn": round(self.drawn, 4),
            "real": round(self.real, 4),
            "ratio": round(self.ratio, 4) if self.real else None,
            **conditions(self.settings, images=self.images),
            "per_class": {name: round(share, 4) for name, share in self.per_class.items()},
        }


def share_of(drawn: float, real: float) -> float:
    """What is left of a figure that real pictures reach; NaN where they reach none."""
    return drawn / real if real else math.nan


def conditions(settings: Defaults, *, images: int) -> dict[str, Any]:
    """What must be the same for two figures to compare, as the manifest keeps it."""
    return {**settings_to_json(settings), "images": images, "extractor": EXTRACTOR}


def judge_agreement(drawn: Drawn, *, classifier: Classifier, test: Pictures) -> Agreement:
    """How often the classifier sees what was asked for."""
    assert drawn.labels is not None
    agrees = (predict(classifier, drawn.images) == drawn.labels).float()
    real = predict(classifier, torch.tensor(test.images)).numpy() == test.labels
    return Agreement(
        drawn=float(agrees.mean()),
        real=float(real.mean()),
        per_class={
            name: float(agrees[drawn.labels == label].mean())
            for label, name in enumerate(test.classes)
            if label in drawn.labels  # fewer pictures than classes leave some out
        },
        images=len(agrees),
        settings=drawn.settings,
    )


def measure_agreement(
    model: Model,
    settings: Defaults,
    *,
    train: Pictures,
    test: Pictures,
    images: int,
    say: Callable[[str], None],
) -> Agreement:
    """Draw ``images`` pictures and judge them.

    Raises:
        TrainingError: the model draws without classes, or the data has others.
    """
    require_classes(model.manifest, train)
    device = next(model.network.parameters()).device
    classifier = cached_classifier(train, device=device, say=say)
    drawn = draw_pictures(model, settings, images=images, real_labels=train.labels, say=say)
    return judge_agreement(drawn, classifier=classifier, test=test)


def require_classes(manifest: Manifest, data: Pictures) -> None:
    """Raise TrainingError unless the model draws by class, and by this data's classes."""
    if not manifest.classes:
        raise TrainingError(
            f"{manifest.version} has no classes, which agreement and accuracy need; ask for the "
            "other metrics"
        )
    if manifest.classes != data.classes:
        raise TrainingError(
            f"{manifest.version} was trained on other classes than the data has; give the data "
            "set that it was trained on with --data"
        )
