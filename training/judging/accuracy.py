"""Classification accuracy score: can a classifier learn the classes from drawn pictures alone?

Trained on what a model drew and tested on real pictures (Ravuri & Vinyals 2019, arXiv:1905.10887),
beside the same classifier trained on as many real ones. Classes that are drawn wrong, or all alike,
cost accuracy that no distance shows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from training.errors import TrainingError
from training.judging.agreement import share_of
from training.judging.classifier import predict, train_classifier
from training.judging.drawing import Drawn
from training.pictures.data import Pictures

# Few pictures are seen more often, so that there are about 800 steps of 128; not without end.
_SEEN = 800 * 128
_FEWEST_EPOCHS, _MOST_EPOCHS = 8, 60


@dataclass(frozen=True)
class Accuracy:
    """Of two classifiers on real test pictures: one trained on drawn pictures, one on real ones."""

    drawn: float
    real: float
    epochs: int

    @property
    def ratio(self) -> float:
        """What is left of the accuracy when drawn pictures take the real ones' place."""
        return share_of(self.drawn, self.real)


def measure_accuracy(
    drawn: Drawn,
    *,
    train: Pictures,
    chosen: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    test: Pictures,
    device: torch.device,
    say: Callable[[str], None],
) -> Accuracy:
    """Train on the drawn, then on the ``chosen`` real pictures; test both.

    Raises:
        TrainingError: fewer pictures than classes were drawn.
    """
    assert drawn.labels is not None
    if len(drawn.labels) < len(train.classes):
        raise TrainingError(
            f"{len(drawn.labels)} drawn pictures are too few for cas: there are "
            f"{len(train.classes)} classes to train on; ask for more --images, or leave it out of "
            "--metrics"
        )
    epochs = min(max(-(-_SEEN // len(drawn.labels)), _FEWEST_EPOCHS), _MOST_EPOCHS)
    shares = []
    for what, images, labels in (
        ("drawn", drawn.images.numpy(), drawn.labels.numpy()),
        ("real", train.images[chosen], train.labels[chosen]),
    ):
        say(f"training a classifier on {len(labels)} {what} pictures ({epochs} epochs)")
        classifier = train_classifier(
            images, labels, classes=len(train.classes), device=device, say=_silence, epochs=epochs
        )
        right = predict(classifier, torch.tensor(test.images)).numpy() == test.labels
        shares.append(float(right.mean()))
    return Accuracy(shares[0], shares[1], epochs)


def _silence(_text: str) -> None:
    """Thirty epochs of two classifiers are no news."""
