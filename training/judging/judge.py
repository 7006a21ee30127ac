"""The judge of a data set: draws once, measures all that was asked for.

Drawn pictures are held against unseen real ones, and so are as many pictures of the training data:
what those reach is the floor of a distance and the ceiling of a share. How it is told is
`training.judging.command`'s and `report`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoint import Model
from models.manifest import Defaults
from training.errors import TrainingError
from training.judging.accuracy import measure_accuracy
from training.judging.agreement import judge_agreement, require_classes
from training.judging.classifier import cached_classifier
from training.judging.coverage import Coverage, measure_coverage
from training.judging.distances import Distances, measure_distances
from training.judging.drawing import Drawn, class_turns, draw_pictures, pick_by_class
from training.judging.features import CLASSIFIER, Extractor, of_classifier, open_extractor
from training.judging.neighbours import find_nearest, measure_copying
from training.judging.results import Evaluation, InFeatures
from training.pictures.data import Pictures

Metric = Literal["distances", "agreement", "cas", "neighbours"]
METRICS: tuple[Metric, ...] = get_args(Metric)
_OF_CLASSES = frozenset[Metric](["agreement", "cas"])
DEFAULT_IMAGES = 3000
_FEWEST = 100  # fewer say nothing about a distribution


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Real pictures, and what was made of them once for all evaluations against them.

    Attributes:
        train, test: what the model was trained on, and what it has not seen.
        images: how many pictures to draw.
        chosen_train, chosen_test: which real ones, as many, are held against them and each other.
            By class where classes are drawn: how many of each a sample happens to have would move
            distances by more than what is to be measured.
        real: of each extractor the unseen features, and what the training pictures reach.
    """

    train: Pictures
    test: Pictures
    images: int
    chosen_train: npt.NDArray[np.int64]
    chosen_test: npt.NDArray[np.int64]
    metrics: frozenset[Metric]
    extractors: Sequence[Extractor]
    real: Mapping[str, tuple[Tensor, Distances, Coverage]]
    device: torch.device
    say: Callable[[str], None]

    def measure(self, model: Model, settings: Defaults) -> Evaluation:
        """Draw with these settings and measure.

        Raises:
            TrainingError: the model draws other classes than the data has, or none.
        """
        if self.metrics & _OF_CLASSES:
            require_classes(model.manifest, self.train)
        drawn = draw_pictures(
            model,
            settings,
            images=self.images,
            real_labels=self.train.labels,
            captions=self.train.captions,
            say=self.say,
        )
        return self.judge(drawn, dtype=str(next(model.network.parameters()).dtype))

    def judge(self, drawn: Drawn, *, dtype: str) -> Evaluation:
        """Measure pictures that are drawn already."""
        metrics = self.metrics
        found = {
            extractor.key: self._in_features(extractor, drawn) for extractor in self.extractors
        }
        agreement = accuracy = nearest = None
        if "agreement" in metrics:
            classifier = cached_classifier(self.train, device=self.device, say=self.say)
            agreement = judge_agreement(drawn, classifier=classifier, test=self.test)
        if "cas" in metrics:
            accuracy = measure_accuracy(
                drawn,
                train=self.train,
                chosen=self.chosen_train,
                test=self.test,
                device=self.device,
                say=self.say,
            )
        if "neighbours" in metrics:
            self.say(f"looking for the nearest of {len(self.train)} training pictures")
            unseen = torch.tensor(self.test.images[self.chosen_test])
            nearest = (
                find_nearest(drawn.images, self.train.images),
                find_nearest(unseen, self.train.images),
            )
        return Evaluation(
            drawn=drawn,
            dtype=dtype.removeprefix("torch."),
            device=self.device.type,
            unseen=len(self.test),
            features=found,
            agreement=agreement,
            accuracy=accuracy,
            copying=nearest and measure_copying(*nearest),
            nearest=nearest,
        )

    def _in_features(self, extractor: Extractor, drawn: Drawn) -> InFeatures:
        self.say(f"features of {len(drawn.images)} drawn pictures: {extractor.name}")
        ours = extractor(drawn.images)
        theirs, floor, ceiling = self.real[extractor.key]
        return InFeatures(
            extractor=extractor.name,
            features=ours.shape[1],
            drawn=(measure_distances(ours, theirs), measure_coverage(ours, theirs)),
            real=(floor, ceiling),
        )


def default_metrics(*, classes: bool) -> list[Metric]:
    """All that a model with classes, or one without, can be measured by."""
    return [metric for metric in METRICS if classes or metric not in _OF_CLASSES]


def appoint_judge(
    train: Pictures,
    test: Pictures,
    *,
    images: int | None,
    by_class: bool,
    metrics: Sequence[Metric],
    extractors: Sequence[str],
    device: torch.device,
    say: Callable[[str], None],
) -> Judge:
    """Prepare what does not depend on the model: extractors, real features, floors.

    Args:
        images: how many are to be drawn; None: 3,000, or as many as there are unseen.
        by_class: whether they are drawn class by class.
        extractors: as `training.judging.features` names them; none: the data's own classifier where
            it has classes, else EfficientNet.

    Raises:
        TrainingError: too few pictures, no classes where they are needed, or a bad extractor.
    """
    wanted = frozenset(metrics)
    if wanted & _OF_CLASSES and not train.classes:
        raise TrainingError(
            f"--metrics {min(wanted & _OF_CLASSES)} needs data with classes, and this has none; "
            "ask for the other metrics"
        )
    count = _count(images, train, test, wanted)
    judges = _extractors(extractors, train, device=device, say=say) if "distances" in wanted else []
    turns = class_turns(train.labels, count) if by_class else np.zeros(count, dtype=np.int64)
    chosen_train, chosen_test = (
        pick_by_class(
            data.labels if by_class else np.zeros_like(data.labels),
            turns[: len(data)],  # agreement alone may ask for more than there are
        )
        for data in (train, test)
    )
    return Judge(
        train=train,
        test=test,
        images=count,
        chosen_train=chosen_train,
        chosen_test=chosen_test,
        metrics=wanted,
        extractors=judges,
        real={
            judge.key: _real(judge, train.images[chosen_train], test.images[chosen_test], say)
            for judge in judges
        },
        device=device,
        say=say,
    )


def _count(images: int | None, train: Pictures, test: Pictures, metrics: frozenset[Metric]) -> int:
    most = min(len(train), len(test))
    count = min(DEFAULT_IMAGES, most) if images is None else images
    if count < 1:
        raise TrainingError(f"--images {count} is not at least 1")
    if count < _FEWEST and "distances" in metrics:
        given = f"--images {count}" if images is not None else f"{count} unseen real pictures"
        rest = " ".join(metric for metric in METRICS if metric in metrics - {"distances"})
        raise TrainingError(
            f"{given}: too few for distances, which need {_FEWEST}; give more, or ask for "
            f"--metrics {rest or 'neighbours'}"
        )
    if count > most and metrics - {"agreement"}:
        raise TrainingError(
            f"--images {count}: there are only {len(test)} unseen real pictures and {len(train)} "
            f"training pictures to hold them against; ask for at most {most}"
        )
    return count


def _extractors(
    wanted: Sequence[str], train: Pictures, *, device: torch.device, say: Callable[[str], None]
) -> list[Extractor]:
    found = []
    for name in wanted or [CLASSIFIER if train.classes else "efficientnet"]:
        if name != CLASSIFIER:
            found.append(open_extractor(name, device=device))
            continue
        if not train.classes:
            raise TrainingError(
                "--extractor classifier needs data with classes, and this has none; take "
                "efficientnet"
            )
        found.append(of_classifier(cached_classifier(train, device=device, say=say)))
    return found


def _real(
    extractor: Extractor,
    train: npt.NDArray[np.uint8],
    test: npt.NDArray[np.uint8],
    say: Callable[[str], None],
) -> tuple[Tensor, Distances, Coverage]:
    """Unseen real features, and what training pictures reach when they are judged by them."""
    say(f"features of {len(train)} training and {len(test)} unseen pictures: {extractor.name}")
    seen, unseen = (extractor(torch.tensor(images)) for images in (train, test))
    return unseen, measure_distances(seen, unseen), measure_coverage(seen, unseen)
