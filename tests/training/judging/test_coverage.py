"""Precision, recall, density and coverage against their definitions, counted one by one."""

import pytest
import torch
from torch import Tensor

from training.judging.coverage import measure_coverage


def counted(drawn: Tensor, real: Tensor) -> tuple[float, float, float, float]:
    """As the papers write them, with loops."""

    def reach(points: Tensor, k: int) -> list[float]:
        return [sorted(float((p - q).norm()) for q in points)[k] for p in points]

    def distance(i: int, j: int) -> float:
        return float((real[i] - drawn[j]).norm())

    reals, drawns = range(len(real)), range(len(drawn))
    near, mine, dense = reach(real, 3), reach(drawn, 3), reach(real, 5)
    precision = sum(any(distance(i, j) <= near[i] for i in reals) for j in drawns)
    recall = sum(any(distance(i, j) <= mine[j] for j in drawns) for i in reals)
    density = sum(distance(i, j) < dense[i] for i in reals for j in drawns)
    coverage = sum(any(distance(i, j) < dense[i] for j in drawns) for i in reals)
    return (
        precision / len(drawn),
        recall / len(real),
        density / (5 * len(drawn)),
        coverage / len(real),
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_each_is_what_its_paper_counts(shift: float) -> None:
    random = torch.Generator().manual_seed(0)
    real = torch.randn(30, 3, generator=random, dtype=torch.float64)
    drawn = torch.randn(24, 3, generator=random, dtype=torch.float64) * 0.7 + shift
    found = measure_coverage(drawn, real)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(
        counted(drawn, real)
    )


def test_one_good_picture_over_and_over_is_precise_and_covers_nothing() -> None:
    real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    found = measure_coverage(real[:1].repeat(200, 1), real)
    assert found.precision == 1
    assert found.recall == 0.005  # itself alone
    assert found.coverage < 0.1


def test_noise_far_away_is_neither() -> None:
    real = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    found = measure_coverage(real + 100, real)
    assert (found.precision, found.density, found.coverage) == (0, 0, 0)
