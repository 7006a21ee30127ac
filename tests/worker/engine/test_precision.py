"""What each precision mode promises, as dtype and buckets."""

import pytest
import torch

from worker.engine.precision import Precision, plan

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 64])
@pytest.mark.parametrize("precision", ["exact", "balanced", "fast"])
def test_every_place_of_a_bucket_is_computed_alike(precision: Precision, threads: int) -> None:
    chosen = plan(precision, device=CPU, threads=threads)
    assert list(chosen.buckets) == sorted(set(chosen.buckets))
    assert chosen.buckets[-1] >= 8
    for size in chosen.buckets:
        assert size == 1 or (size & (size - 1) == 0 and size % threads == 0)


def test_exact_has_one_bucket() -> None:
    assert len(plan("exact", device=CPU, threads=2).buckets) == 1
    assert len(plan("exact", device=CUDA, threads=2).buckets) == 1


def test_bf16_with_several_buckets_is_for_fast_only() -> None:
    assert plan("balanced", device=CPU, threads=2).dtype is torch.float32
    assert plan("fast", device=CPU, threads=2).dtype is torch.bfloat16
    assert len(plan("balanced", device=CUDA, threads=2).buckets) == 1
