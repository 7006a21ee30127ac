"""Doubling and convolving in one, against doing one after the other."""

import pytest
import torch
import torch.nn.functional as F

from models.unet import UNet, UNetConfig
from models.upsample import upsample_conv


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 5, 1, 1), (3, 2, 7, 3)])
def test_it_is_the_convolution_of_the_doubled_picture(shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    outputs, gradients = [], []
    for out in (
        upsample_conv(x, weight, bias),
        F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1),
    ):
        loss = (out * torch.arange(out.numel()).view_as(out)).sum()
        outputs.append(out)
        gradients.append(torch.autograd.grad(loss, (x, weight, bias)))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-9)


def test_a_network_in_training_is_the_network_that_draws() -> None:
    torch.manual_seed(0)
    config = UNetConfig(
        channels=1,
        size=(8, 8),
        block_channels=(16, 32),
        blocks_per_level=1,
        attention_levels=(False, True),
        norm_groups=8,
    )
    network = UNet(config)
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([3.0, 500.0, 999.0])
    torch.testing.assert_close(network.train()(x, t), network.eval()(x, t))
