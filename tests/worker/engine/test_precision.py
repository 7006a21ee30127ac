"""What each precision mode promises, as arithmetic and sizes of chunks."""

import pytest
import torch

from worker.engine.precision import Plan, choose, plan

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
def test_a_step_has_a_chunk_of_the_largest_size_for_every_core(cores: int) -> None:
    for precision in ("exact", "balanced", "fast"):
        chosen = plan(precision, device=CPU, cores=cores)
        assert chosen.capacity == chosen.sizes[-1] * chosen.cores
        assert chosen.cores == cores


def test_exact_asks_for_the_same_bits_of_every_size() -> None:
    on_cpu = plan("exact", device=CPU, cores=2)
    assert on_cpu.alike in on_cpu.sizes
    assert plan("exact", device=CUDA, cores=1).single


@pytest.mark.parametrize(("computes", "halved"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bf16_is_for_processors_that_compute_in_it(
    monkeypatch: pytest.MonkeyPatch, computes: bool, halved: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": computes})
    assert choose(device=CPU) == ("exact" if computes else "balanced")
    assert plan("exact", device=CPU, cores=2).dtype is halved
    assert plan("fast", device=CPU, cores=2).dtype is halved


def test_bf16_with_sizes_of_other_bits_is_for_fast_only() -> None:
    assert plan("balanced", device=CPU, cores=2).dtype is torch.float32
    assert plan("fast", device=CPU, cores=2).alike is None
    assert plan("balanced", device=CUDA, cores=1).single
    assert plan("exact", device=CUDA, cores=1, chunk=96).sizes == (96,)


@pytest.mark.parametrize("sizes", [(), (4, 2), (2, 2), (0, 1)])
def test_sizes_rise(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not rising"):
        Plan(sizes)


def test_a_step_has_room_for_a_guided_row() -> None:
    assert Plan((1,)).capacity == 2
    with pytest.raises(ValueError, match="none for a guided row"):
        Plan((1,), places=1)
