"""What a judge asks of the data before anything is drawn, and what it makes of real pictures."""

import dataclasses
from pathlib import Path

import pytest
import torch

from models.manifest import Defaults
from tests.training.data import NAMES, write_idx
from training.errors import TrainingError
from training.judging.drawing import Drawn
from training.judging.judge import Judge, Metric, appoint_judge, default_metrics
from training.pictures.data import Pictures, load_pictures

CPU = torch.device("cpu")


def quiet(_text: str) -> None:
    pass


def load(folder: Path, *, classes: bool = True) -> tuple[Pictures, Pictures]:
    write_idx(folder, train=300, test=120)
    train = load_pictures(folder, size=(8, 8), channels=1, class_names=NAMES)
    test = load_pictures(folder, split="test", size=(8, 8), channels=1, class_names=NAMES)
    if classes:
        return train, test
    return dataclasses.replace(train, classes=()), dataclasses.replace(test, classes=())


def appoint(
    data: tuple[Pictures, Pictures],
    *,
    images: int | None = None,
    metrics: list[Metric] | None = None,
    extractors: tuple[str, ...] = (),
) -> Judge:
    return appoint_judge(
        *data,
        images=images,
        by_class=bool(data[0].classes),
        metrics=metrics or default_metrics(classes=bool(data[0].classes)),
        extractors=extractors,
        device=CPU,
        say=quiet,
    )


def as_if_drawn(data: Pictures, count: int) -> Drawn:
    return Drawn(
        images=torch.tensor(data.images[:count]),
        labels=torch.from_numpy(data.labels[:count]) if data.classes else None,
        settings=Defaults(),
        seconds=1.0,
        evaluations=20,
    )


def test_data_without_classes_is_judged_by_what_needs_none(tmp_path: Path) -> None:
    data = load(tmp_path, classes=False)
    judge = appoint(data)
    assert judge.metrics == {"distances", "neighbours"}
    found = judge.judge(as_if_drawn(data[0], 120), dtype="torch.float32")
    assert list(found.features) == ["efficientnet"]
    assert (found.agreement, found.accuracy) == (None, None)
    assert found.copying is not None
    assert found.copying.nearer == 1  # they are the training pictures
    with pytest.raises(TrainingError, match="--metrics cas needs data with classes, and this has"):
        appoint(data, metrics=["cas", "neighbours"])
    with pytest.raises(TrainingError, match="--extractor classifier needs data with classes"):
        appoint(data, extractors=("classifier",))


def test_real_pictures_in_place_of_drawn_ones_are_at_the_floor(tmp_path: Path) -> None:
    data = load(tmp_path)
    judge = appoint(data, metrics=["distances", "agreement"])
    chosen = dataclasses.replace(
        data[0],
        images=data[0].images[judge.chosen_train],
        labels=data[0].labels[judge.chosen_train],
    )
    found = judge.judge(as_if_drawn(chosen, 120), dtype="torch.float32").features["classifier"]
    assert found.drawn == found.real
    assert found.frechet_ratio == 1


def test_too_few_unseen_pictures_are_said_and_other_metrics_go_on(tmp_path: Path) -> None:
    train, test = load(tmp_path)
    few = dataclasses.replace(test, images=test.images[:40], labels=test.labels[:40])
    with pytest.raises(
        TrainingError, match="^40 unseen real pictures: too few for distances, which need"
    ):
        appoint((train, few))
    assert appoint((train, few), metrics=["neighbours"]).images == 40
    assert appoint((train, few), metrics=["agreement"], images=90).images == 90
