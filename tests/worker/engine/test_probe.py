"""Which sizes of chunks compute the same bits: found before anybody draws with them."""

import pytest
import torch
from torch import Tensor

from models.arithmetic import computes_bfloat16
from models.cores import Cores
from models.unet import UNet
from tests.support import tiny_config
from tests.worker.engine.fake import fake_weights
from worker.engine.precision import Plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights

EXACT = Plan((1, 2, 4, 8), alike=4)


def test_a_size_that_adds_up_in_another_order_is_left_out() -> None:
    weight = torch.randn(4, 64)

    def ordered(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        rows = x.flatten(1).repeat(1, 4)
        if len(x) < 4:  # another kernel: the same sum, in two parts
            half = rows[:, :32] @ weight[:, :32].T + rows[:, 32:] @ weight[:, 32:].T
            return x + half.sum(1)[:, None, None, None] * 1e-3
        return x + (rows @ weight.T).sum(1)[:, None, None, None] * 1e-3

    weights = probe(fake_weights(network=ordered), EXACT, Cores(1))
    assert weights.sizes == (4, 8)


def test_where_only_rows_are_computed_all_sizes_serve() -> None:
    assert probe(fake_weights(), EXACT, Cores(1)).sizes == (1, 2, 4, 8)


IN_BF16 = pytest.mark.skipif(
    not computes_bfloat16(torch.device("cpu")), reason="needs a processor with bfloat16"
)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=IN_BF16)])
def test_sizes_that_pass_compute_the_same_bits_of_thousands_of_rows(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    # As it is loaded: weights that want gradients are multiplied by other kernels.
    network = UNet(tiny_config()).eval().requires_grad_(requires_grad=False).to(dtype)
    weights = Weights("tiny@1", network, (1, 8, 8), Condition.of_classes(3), dtype)
    sizes = probe(weights, EXACT, Cores(1)).sizes
    assert sizes is not None
    assert 4 in sizes
    x, t = torch.randn(1024, 1, 8, 8).to(dtype), torch.rand(1024) * 1000
    labels = torch.randint(0, 4, (1024,))
    outputs = []
    with torch.inference_mode():
        for size in sizes:
            parts = [slice(start, start + size) for start in range(0, 1024, size)]
            outputs.append(torch.cat([network(x[part], t[part], labels[part]) for part in parts]))
    assert all(torch.equal(output, outputs[0]) for output in outputs)
