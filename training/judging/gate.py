"""The gate before LATEST: a new checkpoint must not draw its classes worse than the published one.

Off unless `publish.gate` is true. It judges by class agreement.
"""

import sys
from pathlib import Path

import torch

from models.checkpoint import load_model, read_manifest
from training.errors import TrainingError
from training.judging.agreement import conditions, measure_agreement
from training.judging.history import note
from training.pictures.data import Pictures


class AgreementGate:
    """Measures checkpoints on ``images`` drawn pictures each, from the same seeds."""

    def __init__(
        self, train: Pictures, test: Pictures, *, images: int, device: torch.device
    ) -> None:
        if not train.classes:
            raise TrainingError(
                "publish.gate = true needs data with classes: it compares class agreement; set it "
                "to false"
            )
        self._train, self._test, self._images, self._device = train, test, images, device

    def __call__(self, new: Path, published: Path | None) -> tuple[bool, str]:
        """Whether ``new`` may be published, and the two figures in words."""
        ours = self._agreement(new)
        if published is None:
            return True, f"class agreement {ours:.1%}, the first"
        theirs = self._agreement(published)
        return ours >= theirs, f"class agreement {ours:.1%}, {published.name} has {theirs:.1%}"

    def _agreement(self, folder: Path) -> float:
        """From the manifest where it was measured alike, else measured now and noted there."""
        manifest = read_manifest(folder)
        noted = manifest.quality.get("class_agreement", {})
        if conditions(manifest.defaults, images=self._images).items() <= noted.items():
            return float(noted["drawn"])
        agreement = measure_agreement(
            load_model(folder, device=self._device),
            manifest.defaults,
            train=self._train,
            test=self._test,
            images=self._images,
            say=_say,
        )
        note(folder, {"class_agreement": agreement.to_json()})
        return agreement.drawn


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
