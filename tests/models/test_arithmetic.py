"""Bfloat16 where there are instructions for it, float32 where it would take many times as long."""

import pytest
import torch

from models.arithmetic import in_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("computes", [True, False])
def test_a_product_is_bfloat16_if_wanted_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, wanted: bool, computes: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": computes})
    matrix = torch.ones(2, 2)
    with in_bfloat16(CPU, wanted=wanted):
        product = matrix @ matrix
    assert product.dtype is (torch.bfloat16 if wanted and computes else torch.float32)
