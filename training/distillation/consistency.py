"""Consistency distillation: every noise level's estimate is the picture itself.

Song et al. 2023 (arXiv:2303.01469), trained as Easy Consistency Tuning does (Geng et al. 2024,
arXiv:2406.14548): from a trained network, with gaps between the two levels that halve as training
goes on, and the guided teacher's step between them, or several.

The network keeps its input: x0_hat = alpha x - sigma v is EDM's preconditioning (Karras et al.
2022, Table 1) for data of unit variance at s = sigma / alpha, so x0_hat is x itself where s -> 0,
as a consistency function must be. Networks that predict x_0 need not do so, and one picture for all
would be consistent too; estimates from eps divide by alpha, nearly zero where drawing begins.

Shapes: B rows of (C, H, W); s, r and lambda are (B,).
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from training.distillation.options import Distillation, Gaps
from training.distillation.teacher import TaughtObjective, Teacher
from training.encoding.inputs import Inputs
from training.run.levels import LogNormalLevels, alpha_sigma
from training.run.objective import Draws, Forward, Noised

_WIDENING = 8.0  # how much wider gaps are near the data than far from it
_TINY = 1e-6  # keeps the root's gradient finite where both sides agree


@dataclass(frozen=True)
class Pairs(Draws):
    """A batch's noise levels s (in alpha and sigma), and (B, N) lower ones, the last of them r."""

    t_r: Tensor
    alpha_r: Tensor
    sigma_r: Tensor


@dataclass(frozen=True)
class Pair(Noised):
    """Rows at s, and where the teacher's N steps lead: (B, N), alpha and sigma (B, N, 1, 1, 1)."""

    t_r: Tensor
    alpha_r: Tensor
    sigma_r: Tensor


class ConsistencyObjective(TaughtObjective):
    """The distance of estimates at two levels of one path, a gap or several apart."""

    def __init__(
        self, run: Distillation, teacher: Teacher, inputs: Inputs, *, device: torch.device
    ) -> None:
        super().__init__(run, teacher, inputs, device=device)
        assert run.diffusion.prediction == "v"
        assert isinstance(run.distill, Gaps)
        self._gaps = run.distill
        self._noise_levels = LogNormalLevels(
            run.diffusion.build_schedule(),
            mean=run.train.noise_mean,
            std=run.train.noise_std,
            device=device,
        )

    def draw(self, step: int) -> Pairs:
        """A step's levels: s by the log-normal density, r a step or several below it."""
        draws = super().draw(step)
        levels = self._noise_levels
        s, lower = (draws.sigma / draws.alpha).double(), []
        for _ in range(self._gaps.teacher_steps):
            s = s * (1 - self.gap(s, step))
            lower.append(s)
        half_log_snr = -torch.stack(lower, dim=1).log()
        alpha_r, sigma_r = alpha_sigma(half_log_snr)
        # Below the schedule's last level the network is told that one: s and r never coincide.
        t_r = levels.timesteps(levels.hold(half_log_snr))
        return Pairs(**vars(draws), t_r=t_r, alpha_r=alpha_r, sigma_r=sigma_r)

    def gap(self, s: Tensor, step: int) -> Tensor:
        """(s - r) / s: wider near the data, halved stage by stage from the first to the last."""
        first, last = self._gaps.first_intervals, self._gaps.last_intervals
        stages = round(math.log2(last / first)) + 1
        stage = min(stages - 1, step * stages // self._run.train.steps)
        return (1 + _WIDENING * torch.sigmoid(-s)) / float(first << stage)

    def noised(self, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice) -> Pair:
        """These rows at s, and the levels r."""
        assert isinstance(draws, Pairs)
        return Pair(
            **vars(super().noised(pixels, labels, draws, rows)),
            t_r=draws.t_r[rows],
            alpha_r=draws.alpha_r[rows][..., None, None, None],
            sigma_r=draws.sigma_r[rows][..., None, None, None],
        )

    def errors(self, forward: Forward, noised: Noised) -> Tensor:
        """The distance between f(x_s, s) and f(x_r, r), over s - r; (B,).

        Both in float32, unless `distill.bf16` says otherwise: neighbours at narrow gaps differ by
        less than what bfloat16 rounds off.
        """
        assert isinstance(noised, Pair)
        lower = self.follow(noised)
        with self.autocast() if self._gaps.bf16 else nullcontext():
            with torch.no_grad():
                wanted = self.estimate(forward, lower)
            estimate = self.estimate(forward, noised)
        distance = (estimate - wanted).square().sum(dim=(1, 2, 3))
        gap = noised.sigma / noised.alpha - lower.sigma / lower.alpha
        return (distance + _TINY**2).sqrt() / gap.flatten()

    def estimate(self, forward: Forward, noised: Noised) -> Tensor:
        """f(x, s), the estimate of x_0 that the student gives: (B, C, H, W)."""
        output = forward(noised.x_t, noised.t, noised.labels).float()
        return noised.alpha * noised.x_t - noised.sigma * output

    @torch.no_grad()
    def follow(self, pair: Pair) -> Noised:
        """The guided teacher's path from s to r: an Euler step, or several of DPM-Solver++(2M)."""
        here: Noised = pair
        before: tuple[Tensor, Tensor] | None = None  # the last step's estimate and its width
        steps = (pair.t_r.unbind(1), pair.alpha_r.unbind(1), pair.sigma_r.unbind(1))
        for t, alpha, sigma in zip(*steps, strict=True):
            with self.autocast():
                output = self._teacher.output(here)
            estimate = here.alpha * here.x_t - here.sigma * output
            if self._run.diffusion.clip:
                estimate = estimate.clamp(-1, 1)
            kept = (sigma / alpha) / (here.sigma / here.alpha)
            width, towards = -kept.log(), estimate
            if before is not None:
                towards = estimate + width / (2 * before[1]) * (estimate - before[0])
            before = estimate, width
            # x / alpha moves along a straight line towards the estimate.
            x_r = alpha * (kept * here.x_t / here.alpha + (1 - kept) * towards)
            here = Noised(
                x_0=pair.x_0,
                x_t=x_r,
                noise=pair.noise,
                t=t,
                alpha=alpha,
                sigma=sigma,
                labels=pair.labels,
            )
        return here
