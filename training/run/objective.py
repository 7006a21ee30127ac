"""The training objective (Ho et al. 2020, Algorithm 1): noise a batch, ask the network, compare.

Every random number is a function of (seed, step) and the picture's place in the batch, and is drawn
for the whole batch even where a process or a micro-batch computes only some of its rows.

Shapes: B pictures of (C, H, W) in [-1, 1].
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.prediction import Prediction, target
from models.schedule import Floats, Schedule
from training.config import Config

Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Draws:
    """A batch's random numbers: (B,) each, and noise (B, C, H, W)."""

    flip: Tensor
    t: Tensor
    noise: Tensor
    unlabelled: Tensor


class Objective:
    """The weighted squared error of a batch's predictions."""

    def __init__(
        self, config: Config, *, classes: bool, null_class: int | None, device: torch.device
    ) -> None:
        self._config, self._device = config, device
        self._classes, self._null_class = classes, null_class
        schedule = config.diffusion.build_schedule()

        def table(values: Floats) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self._alphas, self._sigmas = table(schedule.alphas), table(schedule.sigmas)
        gamma = config.train.min_snr_gamma
        weights = (
            min_snr_weights(schedule, config.diffusion.prediction, gamma)
            if gamma
            else np.ones(schedule.timesteps)
        )
        self._weights = table(weights)

    def draw(self, step: int) -> Draws:
        """The random numbers of a step's whole batch."""
        data, rows = self._config.data, self._config.train.batch_size
        generator = torch.Generator(self._device).manual_seed(
            step_seed(self._config.train.seed, step)
        )

        def uniform() -> Tensor:
            return torch.rand(rows, device=self._device, generator=generator)

        flip = uniform() < 0.5 if data.flip else torch.zeros(rows, device=self._device).bool()
        timesteps = self._config.diffusion.timesteps
        t = torch.randint(timesteps, (rows,), device=self._device, generator=generator)
        noise = torch.randn(
            (rows, data.channels, *data.size), device=self._device, generator=generator
        )
        return Draws(flip, t, noise, uniform() < self._config.train.label_dropout)

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice
    ) -> Tensor:
        """These rows' share of the batch's mean error; the shares of all rows sum to it.

        May be called from several threads at once.

        Args:
            pixels: (B, C, H, W) uint8 of the rows alone, as are labels (B,).
            draws: of the whole batch.
        """
        diffusion = self._config.diffusion
        flip, t, noise = draws.flip[rows], draws.t[rows], draws.noise[rows]
        x_0 = pixels.float() / 127.5 - 1
        if self._config.data.flip:
            x_0 = torch.where(flip[:, None, None, None], x_0.flip(-1), x_0)
        if self._null_class is not None:
            labels = torch.where(draws.unlabelled[rows], self._null_class, labels)
        alpha, sigma = self._alphas[t][:, None, None, None], self._sigmas[t][:, None, None, None]
        x_t = alpha * x_0 + sigma * noise
        # A cache of casts would gain nothing, every weight being used once; threads would share it.
        autocast = torch.autocast(
            self._device.type,
            torch.bfloat16,
            enabled=self._config.train.bf16,
            cache_enabled=False,
        )
        with autocast:
            output = forward(x_t, t, labels if self._classes else None)
        wanted = target(diffusion.prediction, x_0, noise, alpha, sigma)
        errors = (output.float() - wanted).square().mean(dim=(1, 2, 3))
        return (self._weights[t] * errors).sum() / self._config.train.batch_size


def step_seed(seed: int, step: int, purpose: str = "") -> int:
    """A seed for a run's step, another for each purpose."""
    text = f"{seed}/{step}{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def min_snr_weights(schedule: Schedule, prediction: Prediction, gamma: float) -> Floats:
    """Min-SNR-gamma loss weights (Hang et al. 2023, arXiv:2303.09556, section 3.4).

    The error of x_0 is weighed min(SNR, gamma). An error of eps is SNR times, and one of v is
    SNR + 1 times, the error of the x_0 it implies, so these are divided by as much.

    Returns:
        (T,) weights.
    """
    snr = np.exp(2 * schedule.half_log_snr)
    divisor = {"x0": np.ones_like(snr), "eps": snr, "v": snr + 1}[prediction]
    return np.asarray(np.minimum(snr, gamma) / divisor, dtype=np.float64)
