"""The loss: what min-SNR weighs, and that a picture's share does not depend on its company."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.prediction import PREDICTIONS, Prediction, target, to_x0
from models.schedule import Schedule
from models.unet import UNet, UNetConfig
from training.attention import attend, use_plain_attention
from training.dropout import PictureDropout, batch_part
from training.objective import min_snr_weights

SCHEDULE = Schedule("cosine", 200)


def outputs_for(
    prediction: Prediction, x_0: Tensor, guess: Tensor, noise: Tensor, t: int
) -> Tensor:
    """What a network that believes in ``guess`` would output for ``x_0`` under ``noise``."""
    alpha, sigma = float(SCHEDULE.alphas[t]), float(SCHEDULE.sigmas[t])
    x_t = alpha * x_0 + sigma * noise
    p, q = to_x0(prediction, SCHEDULE.alphas[t : t + 1], SCHEDULE.sigmas[t : t + 1])
    return (guess - float(p[0]) * x_t) / float(q[0])


@pytest.mark.parametrize("t", [0, 40, 100, 160, 199])
def test_min_snr_weighs_the_same_mistake_alike_whatever_is_predicted(t: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x_0, guess, noise = torch.randn(3, 500, generator=generator, dtype=torch.float64)
    alpha, sigma = torch.tensor(SCHEDULE.alphas[t]), torch.tensor(SCHEDULE.sigmas[t])
    snr = float((alpha / sigma) ** 2)
    mistake = float((guess - x_0).square().mean())
    for prediction in PREDICTIONS:
        output = outputs_for(prediction, x_0, guess, noise, t)
        wanted = target(prediction, x_0, noise, alpha, sigma)
        error = float((output - wanted).square().mean())
        weight = min_snr_weights(SCHEDULE, prediction, 5.0)[t]
        assert weight * error == pytest.approx(min(snr, 5.0) * mistake, rel=1e-9)


def test_min_snr_for_noise_is_one_where_gamma_does_not_bind() -> None:
    weights = min_snr_weights(SCHEDULE, "eps", 5.0)
    snr = np.exp(2 * SCHEDULE.half_log_snr)
    assert weights[snr < 5] == pytest.approx(1.0)
    assert weights[snr > 5] == pytest.approx(5 / snr[snr > 5])


def test_a_dropout_mask_belongs_to_the_picture() -> None:
    dropout = PictureDropout(0.5)
    h = torch.ones(6, 4, 3, 3)

    def drop(rows: slice) -> Tensor:
        with batch_part(6, rows, seed=3, device=torch.device("cpu")):
            out: Tensor = dropout(h[rows])
        return out

    whole = drop(slice(0, 6))
    assert torch.equal(whole, torch.cat([drop(slice(0, 2)), drop(slice(2, 6))]))
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(whole[0], whole[1])
    dropout.eval()
    assert torch.equal(dropout(h), h)


def test_plain_attention_is_the_fused_kernel_s() -> None:
    query, key, value = torch.randn(3, 2, 1, 49, 16, generator=torch.Generator().manual_seed(0))
    fused = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attend(query, key, value), fused)
    in_bf16 = [tensor.bfloat16() for tensor in (query, key, value)]
    assert not torch.equal(attend(*in_bf16), F.scaled_dot_product_attention(*in_bf16))
    long = [tensor.repeat(1, 1, 21, 1) for tensor in in_bf16]  # 1029 positions
    assert torch.equal(attend(*long), F.scaled_dot_product_attention(*long))


def test_a_network_with_plain_attention_says_the_same_but_for_rounding() -> None:
    torch.manual_seed(0)
    shape = UNetConfig(
        channels=1, size=(8, 8), block_channels=(8,), attention_levels=(True,), norm_groups=4
    )
    network, x_t, t = UNet(shape), torch.randn(2, 1, 8, 8), torch.tensor([3, 150])

    def output() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            said: Tensor = network(x_t, t)
            return said.float()

    before = output()
    use_plain_attention(network)
    torch.testing.assert_close(output(), before, rtol=0.05, atol=0.02)
    assert not torch.equal(output(), before)
