"""Copies are found, and pictures like those that nobody has seen are not taken for copies."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.judging.neighbours import find_nearest, measure_copying

TRAINING = np.random.default_rng(0).integers(0, 256, (5000, 1, 4, 4)).astype(np.uint8)


def some(seed: int, count: int = 200) -> Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 4, 4))
    return torch.tensor(pixels.astype(np.uint8))


def test_the_nearest_are_those_of_all_differences_sorted() -> None:
    drawn = some(1, 20)
    found = find_nearest(drawn, TRAINING)
    differences = drawn.numpy()[:, None].astype(float) - TRAINING[None].astype(float)
    levels = np.sqrt((differences**2).mean((2, 3, 4)))
    assert np.array_equal(found.indices.numpy(), levels.argsort(1, kind="stable")[:, :3])
    assert np.allclose(found.levels.numpy(), np.sort(levels, 1)[:, :3])


def test_a_model_that_copies_is_told_from_one_that_does_not() -> None:
    unseen = find_nearest(some(2), TRAINING)
    honest = measure_copying(find_nearest(some(3), TRAINING), unseen)
    assert honest.nearer == pytest.approx(0.5, abs=0.1)
    assert honest.copies < 0.05
    copies = torch.cat([torch.tensor(TRAINING[-100:]), some(4, 100)])
    found = measure_copying(find_nearest(copies, TRAINING), unseen)
    assert found.copies == pytest.approx(0.5, abs=0.03)
    assert found.nearer == pytest.approx(0.75, abs=0.06)


def test_pictures_at_the_same_distances_are_nearer_half_of_the_time() -> None:
    unseen = find_nearest(some(2), TRAINING)
    assert measure_copying(unseen, unseen).nearer == 0.5


def test_fewer_training_pictures_than_neighbours_are_all_named() -> None:
    assert find_nearest(some(5, 4), TRAINING[:2]).indices.shape == (4, 2)
