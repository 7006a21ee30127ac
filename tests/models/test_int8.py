"""Weights of eight bits."""

import torch

from models.int8 import dequantise, is_quantised, quantise


def test_a_weight_comes_back_within_half_a_step_of_its_row() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(5, 7) * torch.tensor([1e-3, 1.0, 10.0, 0.0, 1e3])[:, None]
    weights = {"w": matrix, "norm.weight": torch.randn(7), "ids": torch.arange(6).view(2, 3)}
    stored = quantise(weights)
    assert stored["w"].dtype == torch.int8
    assert is_quantised(stored)
    assert not is_quantised(weights)
    back = dequantise(stored)
    assert set(back) == set(weights)
    step = matrix.abs().amax(dim=1, keepdim=True) / 127
    assert bool(((back["w"] - matrix).abs() <= step / 2 + 1e-9).all())
    assert torch.equal(back["norm.weight"], weights["norm.weight"])
    assert torch.equal(back["ids"], weights["ids"])
