"""The loss: what min-SNR weighs, and that a picture's share does not depend on its company."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.prediction import PREDICTIONS, Prediction, target, to_x0
from models.schedule import Schedule
from models.unet import UNet, UNetConfig
from tests.training.data import CONFIG
from training.config import load_config
from training.run.attention import attend, use_plain_attention
from training.run.dropout import PictureDropout, batch_part
from training.run.objective import Objective, min_snr_weights
from training.run.uncertainty import Uncertainty

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


def test_a_part_of_a_batch_keeps_its_own_masks_alone() -> None:
    dropout, kept = PictureDropout(0.5), list[int]()

    def remember(tensor: Tensor) -> Tensor:
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    h = torch.ones(1, 4, 8, 8, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor),
        batch_part(16, slice(3, 4), seed=0, device=torch.device("cpu")),
    ):
        dropout(h)
    assert max(kept) == h.untyped_storage().nbytes()


def objective(tmp_path: Path, *overrides: str) -> Objective:
    (tmp_path / "shapes.toml").write_text(CONFIG)
    config = load_config(
        tmp_path / "shapes.toml",
        overrides=["train.batch_size=64", "train.label_dropout=0.5", *overrides],
    )
    return Objective(config, classes=True, null_class=3, device=torch.device("cpu"))


def test_the_network_sees_noised_mirrored_pictures_of_which_some_lose_their_class(
    tmp_path: Path,
) -> None:
    loss = objective(tmp_path, "data.flip=true")
    draws = loss.draw(5)
    seen: list[Tensor | None] = []

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.extend((x_t, t, labels))
        return torch.zeros_like(x_t)

    pixels = torch.randint(256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(64) % 3
    loss.loss(network, pixels, labels, draws, slice(0, 64))
    x_t, t, told = seen
    assert x_t is not None
    assert t is not None
    assert told is not None
    schedule = Schedule("cosine", 100)
    alpha, sigma = (
        torch.tensor(v)[t].view(-1, 1, 1, 1) for v in (schedule.alphas, schedule.sigmas)
    )
    x_0 = pixels / 127.5 - 1
    straight, mirrored = (
        (alpha * picture + sigma * draws.noise - x_t).abs().amax((1, 2, 3)) < 1e-5
        for picture in (x_0, x_0.flip(-1))
    )
    assert (straight ^ mirrored).all()
    assert torch.equal(mirrored, draws.flip)
    assert 15 < int(mirrored.sum()) < 49
    kept = told == labels
    assert (told[~kept] == 3).all()
    assert 15 < int(kept.sum()) < 49
    assert len(t.unique()) > 30
    again, later = loss.draw(5), loss.draw(6)
    assert torch.equal(again.noise, draws.noise)
    assert not torch.equal(later.noise, draws.noise)


@pytest.mark.parametrize("gamma", [0, 5])
def test_the_loss_is_the_mean_weighted_squared_error(tmp_path: Path, gamma: int) -> None:
    loss = objective(tmp_path, f"train.min_snr_gamma={gamma}", "diffusion.prediction=eps")
    draws = loss.draw(0)
    pixels = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)

    def silent(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros_like(x_t)

    errors = draws.noise.square().mean((1, 2, 3)).double()
    schedule = Schedule("cosine", 100)
    weights = min_snr_weights(schedule, "eps", gamma) if gamma else np.ones(100)
    expected = float((torch.tensor(weights)[draws.t] * errors).mean())
    labels = torch.zeros(64, dtype=torch.int64)
    halves = [
        float(loss.loss(silent, pixels[rows], labels[rows], draws, rows))
        for rows in (slice(0, 24), slice(24, 64))
    ]
    assert sum(halves) == pytest.approx(expected, rel=1e-5)


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


def test_log_normal_levels_have_their_mean_and_spread_and_the_schedules_timesteps(
    tmp_path: Path,
) -> None:
    density = ["train.noise_density=lognormal", "train.noise_mean=-0.4", "train.noise_std=1.0"]
    draws = objective(tmp_path, *density, "train.batch_size=8192").draw(0)
    log_s = (draws.sigma / draws.alpha).log()
    assert float(log_s.mean()) == pytest.approx(-0.4, abs=0.04)
    assert float(log_s.std()) == pytest.approx(1.0, abs=0.04)
    torch.testing.assert_close(draws.alpha**2 + draws.sigma**2, torch.ones(8192))
    schedule = Schedule("cosine", 100)
    told = schedule.half_log_snr_at(draws.t.double().numpy())
    np.testing.assert_allclose(told, -log_s.double().numpy(), atol=1e-4)


def test_a_network_sees_what_its_log_normal_timestep_says(tmp_path: Path) -> None:
    loss = objective(tmp_path, "train.noise_density=lognormal")
    draws, seen = loss.draw(3), list[Tensor]()

    def silent(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.extend((x_t, t))
        return torch.zeros_like(x_t)

    pixels = torch.full((64, 1, 8, 8), 255).byte()
    loss.loss(silent, pixels, torch.zeros(64).long(), draws, slice(0, 64))
    x_t, t = seen
    alpha, sigma = (v[:, None, None, None] for v in (draws.alpha, draws.sigma))
    torch.testing.assert_close(x_t, alpha + sigma * draws.noise)
    assert torch.equal(t, draws.t)


def test_uncertainty_learns_the_error_to_be_expected_at_each_level() -> None:
    """With loss = error / e^u + u, e^u becomes the error, here s^2 / 4, whatever the level."""
    uncertainty, generator = Uncertainty(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(uncertainty.parameters(), lr=0.05)
    for _ in range(600):
        s = torch.randn(256, generator=generator).exp()
        alpha, sigma = (1 + s**2).rsqrt(), s * (1 + s**2).rsqrt()
        errors = s**2 / 4
        loss = uncertainty.weigh(errors, alpha, sigma).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    log_s = torch.tensor([-1.0, 0.0, 1.0])
    with torch.no_grad():
        learned = uncertainty(log_s)
    torch.testing.assert_close(learned, 2 * log_s - math.log(4), atol=0.25, rtol=0)


def test_uncertainty_begins_as_the_plain_loss(tmp_path: Path) -> None:
    plain, weighed = objective(tmp_path), objective(tmp_path, "train.uncertainty=true")
    pixels = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    labels = torch.zeros(64, dtype=torch.int64)

    def silent(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros_like(x_t)

    losses = [
        float(loss.loss(silent, pixels, labels, loss.draw(0), slice(0, 64)).detach())
        for loss in (plain, weighed)
    ]
    assert losses[0] == pytest.approx(losses[1])
