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
from torch import Tensor, nn

from models.arithmetic import in_bfloat16
from models.prediction import Prediction, target
from models.schedule import Floats, Schedule
from training.config import Run
from training.run.levels import LogNormalLevels, alpha_sigma
from training.run.uncertainty import Uncertainty

Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Draws:
    """A batch's random numbers: (B,) each, and noise (B, C, H, W).

    Attributes:
        t: timesteps, whole or fractional.
        alpha, sigma: there.
        weight: of the row's error.
    """

    flip: Tensor
    t: Tensor
    alpha: Tensor
    sigma: Tensor
    weight: Tensor
    noise: Tensor
    unlabelled: Tensor


@dataclass(frozen=True)
class Noised:
    """Rows on their way: x_t = alpha x_0 + sigma noise; alpha and sigma are (B, 1, 1, 1)."""

    x_0: Tensor
    x_t: Tensor
    noise: Tensor
    t: Tensor
    alpha: Tensor
    sigma: Tensor
    labels: Tensor | None


class Objective:
    """The weighted squared error of a batch's predictions.

    Attributes:
        parts: what is trained along with the network, and is not served; None for nothing.
        parts_rate: their learning rate, in times the network's.
    """

    parts: nn.Module | None = None
    parts_rate: float = 1.0

    def __init__(
        self,
        run: Run,
        *,
        classes: bool,
        null_class: int | Tensor | None,
        device: torch.device,
        shape: tuple[int, int, int] | None = None,
    ) -> None:
        """Prepare the tables.

        Args:
            classes: whether the network is told anything.
            null_class: what it is told instead, where a row's class or caption is left out.
            shape: (C, H, W) of what it sees; None: of the pictures.
        """
        self._run, self._device = run, device
        self._classes, self._null_class = classes, null_class
        self._shape = shape or (run.data.channels, *run.data.size)
        train, schedule = run.train, run.diffusion.build_schedule()

        def table(values: Floats) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self._alphas, self._sigmas = table(schedule.alphas), table(schedule.sigmas)
        gamma = train.min_snr_gamma
        weights = (
            min_snr_weights(schedule, run.diffusion.prediction, gamma)
            if gamma
            else np.ones(schedule.timesteps)
        )
        self._weights = table(weights)
        self._levels: LogNormalLevels | None = None
        if train.noise_density == "lognormal":
            self._levels = LogNormalLevels(
                schedule, mean=train.noise_mean, std=train.noise_std, device=device
            )
        if train.uncertainty:
            self.parts = self._uncertainty = Uncertainty().to(device)

    def draw(self, step: int) -> Draws:
        """The random numbers of a step's whole batch."""
        data, rows = self._run.data, self._run.train.batch_size
        generator = torch.Generator(self._device).manual_seed(step_seed(self._run.train.seed, step))

        def uniform() -> Tensor:
            return torch.rand(rows, device=self._device, generator=generator)

        flip = uniform() < 0.5 if data.flip else torch.zeros(rows, device=self._device).bool()
        if self._levels is None:
            timesteps = self._run.diffusion.timesteps
            t = torch.randint(timesteps, (rows,), device=self._device, generator=generator)
            alpha, sigma, weight = self._alphas[t], self._sigmas[t], self._weights[t]
        else:
            half_log_snr = self._levels.draw(rows, generator)
            t = self._levels.timesteps(half_log_snr)
            alpha, sigma = alpha_sigma(half_log_snr)
            weight = self._weights[t.round().long()]
        noise = torch.randn((rows, *self._shape), device=self._device, generator=generator)
        unlabelled = uniform() < self._run.train.label_dropout
        return Draws(flip, t, alpha, sigma, weight, noise, unlabelled)

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice
    ) -> Tensor:
        """These rows' share of the batch's mean error; the shares of all rows sum to it.

        May be called from several threads at once.

        Args:
            pixels: (B, C, H, W) uint8 of the rows alone, as are labels (B,); or latents
                (B, M, C, H, W), where M is 2 those of the mirrored pictures too, and (B, L, S).
            draws: of the whole batch.
        """
        noised = self.noised(pixels, labels, draws, rows)
        errors = draws.weight[rows] * self.errors(forward, noised)
        if self.parts is not None:
            errors = self._uncertainty.weigh(errors, noised.alpha, noised.sigma)
        return errors.sum() / self._run.train.batch_size

    def noised(self, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice) -> Noised:
        """These rows as the network gets them; arguments as those of `loss`."""
        flip = draws.flip[rows][:, None, None, None]
        if pixels.dtype == torch.uint8:
            x_0 = pixels.float() / 127.5 - 1
            mirrored = x_0.flip(-1)
        else:
            x_0, mirrored = pixels[:, 0].float(), pixels[:, -1].float()
        if self._run.data.flip:
            x_0 = torch.where(flip, mirrored, x_0)
        if self._null_class is not None:
            unlabelled = draws.unlabelled[rows].view(-1, *[1] * (labels.ndim - 1))
            labels = torch.where(unlabelled, self._null_class, labels)
        alpha, sigma = (v[rows][:, None, None, None] for v in (draws.alpha, draws.sigma))
        noise = draws.noise[rows]
        return Noised(
            x_0,
            alpha * x_0 + sigma * noise,
            noise,
            draws.t[rows],
            alpha,
            sigma,
            labels if self._classes else None,
        )

    def errors(self, forward: Forward, noised: Noised) -> Tensor:
        """Each row's mean squared error, (B,)."""
        with self.autocast():
            output = forward(noised.x_t, noised.t, noised.labels)
        wanted = target(
            self._run.diffusion.prediction, noised.x_0, noised.noise, noised.alpha, noised.sigma
        )
        return (output.float() - wanted).square().mean(dim=(1, 2, 3))

    def autocast(self) -> torch.autocast:
        """Multiply in bfloat16, where the run does."""
        return in_bfloat16(self._device, wanted=self._run.train.bf16)


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
