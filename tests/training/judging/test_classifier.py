"""The classifier is the same whoever asks for it, and what it learns is what it is shown."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from models.manifest import Defaults
from tests.training.data import NAMES, write_idx
from training.errors import TrainingError
from training.judging.accuracy import Accuracy, measure_accuracy
from training.judging.classifier import (
    Classifier,
    cached_classifier,
    predict,
    train_classifier,
)
from training.judging.drawing import Drawn, class_turns, pick_by_class
from training.judging.features import of_classifier
from training.pictures.data import Pictures, load_pictures

CPU = torch.device("cpu")


def quiet(_text: str) -> None:
    pass


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, Pictures]:
    folder = write_idx(tmp_path_factory.mktemp("shapes"), train=330, test=120)
    train, test = (
        load_pictures(folder, split=split, size=(8, 8), channels=1, class_names=NAMES)
        for split in ("train", "test")
    )
    return train, test


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def trained(data: Pictures) -> Classifier:
    return train_classifier(
        data.images[:64], data.labels[:64], classes=3, device=CPU, say=quiet, epochs=2
    )


def test_neither_threads_nor_other_random_numbers_change_a_bit(
    shapes: tuple[Pictures, Pictures], two_threads: None
) -> None:
    torch.manual_seed(1)
    first = trained(shapes[0])
    after = torch.rand(1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    for mine, theirs in zip(first.parameters(), trained(shapes[0]).parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_one_from_the_cache_is_the_one_that_was_trained(shapes: tuple[Pictures, Pictures]) -> None:
    said: list[str] = []
    first = cached_classifier(shapes[0], device=CPU, say=said.append)
    assert "training the classifier" in said[0]
    said.clear()
    again = cached_classifier(shapes[0], device=CPU, say=said.append)
    assert said == []
    images = torch.tensor(shapes[1].images)
    assert torch.equal(of_classifier(first)(images), of_classifier(again)(images))
    assert (predict(again, images).numpy() == shapes[1].labels).mean() > 0.9


def drawn_from(data: Pictures, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Drawn:
    return Drawn(
        images=torch.tensor(data.images),
        labels=torch.from_numpy(labels),
        settings=Defaults(),
        seconds=1.0,
        evaluations=20,
    )


def test_what_is_learnt_from_right_pictures_is_right_and_from_wrong_ones_chance(
    shapes: tuple[Pictures, Pictures],
) -> None:
    train, test = shapes
    some = dataclasses.replace(train, images=train.images[:150], labels=train.labels[:150])

    def measured(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Accuracy:
        drawn = drawn_from(some, labels)
        chosen = np.arange(150, 300)
        return measure_accuracy(drawn, train=train, chosen=chosen, test=test, device=CPU, say=quiet)

    right = measured(some.labels)
    assert right.drawn > 0.9
    assert right.real > 0.9
    assert right.ratio == right.drawn / right.real
    turned = measured((some.labels + 1) % 3)
    assert turned.drawn < 0.1
    assert turned.real == right.real


def test_fewer_pictures_than_classes_are_too_few_to_learn_from(
    shapes: tuple[Pictures, Pictures],
) -> None:
    train, test = shapes
    two = dataclasses.replace(train, images=train.images[:2], labels=train.labels[:2])
    with pytest.raises(TrainingError, match="2 drawn pictures are too few for cas: there are 3"):
        measure_accuracy(
            drawn_from(two, two.labels),
            train=train,
            chosen=np.arange(2),
            test=test,
            device=CPU,
            say=quiet,
        )


def test_classes_come_in_turn_and_in_their_shares() -> None:
    assert class_turns(np.arange(30) % 3, 10).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    uneven = class_turns(np.array([0] * 6 + [1] * 3 + [2]), 20)
    assert np.bincount(uneven).tolist() == [12, 6, 2]
    assert np.bincount(uneven[:10]).tolist() == [6, 3, 1]


def test_real_pictures_are_picked_class_by_class_while_there_are_enough() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 40)
    wanted = class_turns(np.arange(30) % 3, 15)
    picked = pick_by_class(labels, wanted)
    assert len(set(picked.tolist())) == 15
    counts = np.bincount(labels[picked])
    assert counts[1] == 3
    assert counts.sum() == 15
    assert counts.min() >= 3
    assert np.array_equal(picked, pick_by_class(labels, wanted))
