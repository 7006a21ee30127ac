"""Fréchet and KID against closed forms, and against what they are defined as."""

import sys

import pytest
import torch
from torch import Tensor

from training.errors import TrainingError
from training.judging.distances import measure_distances


def cross(lengths: list[float], centre: list[float], times: int = 10) -> Tensor:
    """Points on the axes, whose mean is ``centre`` and whose covariance is exactly diagonal."""
    ends = torch.diag(torch.tensor(lengths, dtype=torch.float64))
    return torch.cat([ends, -ends]).repeat(times, 1) + torch.tensor(centre)


def test_frechet_is_the_closed_form_of_two_gaussians() -> None:
    first, second = [1.0, 2.0, 0.5], [3.0, 2.0, 1.5]
    ours = cross(first, [0.0, 1.0, 2.0])
    theirs = cross(second, [0.5, 1.0, 0.0])
    # 60 points, two of which lie on each axis ten times: variances 20 a^2 / 59.
    deviations = [(torch.tensor(lengths).square() * 20 / 59).sqrt() for lengths in (first, second)]
    expected = 0.5**2 + 2.0**2 + float((deviations[0] - deviations[1]).square().sum())
    assert measure_distances(ours, theirs).frechet == pytest.approx(expected, rel=1e-6)


def test_more_features_than_pictures_change_nothing() -> None:
    random = torch.Generator().manual_seed(3)
    ours = torch.randn(30, 6, generator=random, dtype=torch.float64)
    theirs = torch.randn(40, 6, generator=random, dtype=torch.float64) * 2 + 1
    wide = torch.linalg.qr(torch.randn(200, 6, generator=random, dtype=torch.float64)).Q.T
    turned = measure_distances(ours @ wide, theirs @ wide)  # 200 features, in six directions
    assert turned.frechet == pytest.approx(measure_distances(ours, theirs).frechet, rel=1e-9)


def test_the_same_features_are_no_distance_apart() -> None:
    features = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    found = measure_distances(features, features.clone())
    assert found.frechet == pytest.approx(0, abs=1e-6)
    assert found.kernel < 0  # unbiased: each picture's own twin is not counted within a set


def test_kid_is_the_unbiased_discrepancy_of_a_cubic_kernel() -> None:
    random = torch.Generator().manual_seed(1)
    ours = torch.randn(40, 5, generator=random, dtype=torch.float64)
    theirs = torch.randn(40, 5, generator=random, dtype=torch.float64) + 0.5

    def kernel(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 5 + 1) ** 3)

    def within(points: Tensor) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j]
        return sum(pairs) / len(pairs)

    between = sum(kernel(x, y) for x in ours for y in theirs) / 40**2
    found = measure_distances(ours, theirs)
    assert found.kernel == pytest.approx(within(ours) + within(theirs) - 2 * between, rel=1e-6)
    assert found.kernel_deviation == pytest.approx(0, abs=1e-9)  # every subset is the whole


def test_measuring_leaves_other_random_numbers_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.judging.distances._MOST_IN_SUBSET", 100)
    features = torch.randn(120, 2, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = measure_distances(features, features + 1)
    assert torch.equal(torch.rand(1), expected)
    assert measure_distances(features, features + 1) == first  # subsets are repeatable


def test_without_torchmetrics_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(TrainingError, match="`pip install torchmetrics`, or ask for other metrics"):
        measure_distances(torch.zeros(10, 2), torch.zeros(10, 2))
