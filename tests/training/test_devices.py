"""What a run says it computes on, and in what."""

import pytest
import torch

from training.devices import described


def test_a_run_says_that_its_processor_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert described(cpu, bf16=True) == "cpu (in float32: it has no instructions for bfloat16)"
    assert described(cpu, bf16=False) == "cpu"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert described(cpu, bf16=True) == "cpu"
