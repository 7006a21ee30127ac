"""Adversarial distillation: a consistency model's pictures, judged beside real ones.

A consistency model's errors add up from one evaluation to the next, and no two neighbouring noise
levels show them. Here it draws as it will be served, and a critic that learns along compares what
comes out with a real picture of the class, both noised a little (Sauer et al. 2024,
arXiv:2403.12015; in pairs: Jolicoeur-Martineau 2018, arXiv:1807.00734). Its estimates are held near
what they were, so that little is forgotten.

Shapes: B rows of (C, H, W); K evaluations at most; N of all of the model's numbers of steps.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.distillation.critic import Critic
from training.distillation.options import Critique, Distillation
from training.distillation.teacher import TaughtObjective, Teacher
from training.encoding.inputs import Inputs
from training.run.objective import Draws, Forward, Noised, step_seed

_JITTER = 0.1  # standard deviation, of pixels in [-1, 1] or latents of unit variance


@dataclass(frozen=True)
class Chains(Draws):
    """A batch's random numbers; ``noise`` is what the critic sees pictures through.

    Attributes:
        chain: (B, K) which of the N evaluations each row goes through, -1 after its last.
        anew: (B, K, C, H, W) noise: what drawing begins from, and what later estimates are noised
            with.
        jitter: (B, C, H, W) which way the critic's slope is looked at.
    """

    chain: Tensor
    anew: Tensor
    jitter: Tensor


class AdversarialObjective(TaughtObjective):
    """The critic's error on pairs of a drawn and a real picture, which the student makes greater.

    Gradients of one loss go both ways: they are turned round where they leave the critic for the
    student (Ganin and Lempitsky 2015, arXiv:1409.7495). So a critic that is sure of itself says
    little to the student.
    """

    def __init__(
        self, run: Distillation, teacher: Teacher, inputs: Inputs, *, device: torch.device
    ) -> None:
        super().__init__(run, teacher, inputs, device=device)
        assert isinstance(run.distill, Critique)
        consistency = teacher.model.manifest.distilled.consistency
        assert consistency is not None
        self._critique = run.distill
        self._before = teacher.model.network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(run.train.seed, 0, "critic"))
            self.parts = self._critic = Critic(self._before.config).to(device)
        self.parts_rate = run.distill.critic_rate
        schedule, most = run.diffusion.build_schedule(), len(consistency.levels)
        tables = [
            consistency.table(schedule, run.diffusion.prediction, steps)
            for steps in range(1, most + 1)
        ]

        def column(name: str) -> Tensor:
            values = [value for table in tables for value in getattr(table, name)]
            return torch.tensor(values, dtype=torch.float32, device=device)

        self._t, self._alpha, self._sigma = (column(name) for name in ("t", "alpha", "sigma"))
        starts = [steps * (steps - 1) // 2 for steps in range(1, most + 1)]
        self._starts = torch.tensor(starts, device=device)

    def draw(self, step: int) -> Chains:
        """How each row is drawn: with how many steps, and up to which of them."""
        draws = super().draw(step)
        seed = step_seed(self._run.train.seed, step, "chains")
        generator = torch.Generator(self._device).manual_seed(seed)
        rows, most = len(draws.t), len(self._starts)

        def uniform() -> Tensor:
            return torch.rand(rows, device=self._device, generator=generator)

        def below(limit: Tensor, share: Tensor) -> Tensor:
            return torch.minimum((share * limit).long(), limit - 1)  # a product may be rounded up

        steps = below(torch.tensor(most, device=self._device), uniform())  # less one
        last = below(steps + 1, torch.maximum(uniform(), uniform()))  # late ones more often
        every = torch.arange(most, device=self._device)
        chain = torch.where(every <= last[:, None], self._starts[steps][:, None] + every, -1)

        def normal(*shape: int) -> Tensor:
            return torch.randn(
                (rows, *shape, *self._shape), device=self._device, generator=generator
            )

        return Chains(**vars(draws), chain=chain, anew=normal(most), jitter=normal())

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice
    ) -> Tensor:
        """As `Objective.loss`; what the critic learns from is in it."""
        assert isinstance(draws, Chains)
        real = self.noised(pixels, labels, draws, rows)
        x, last = self.follow(forward, real.labels, draws.chain[rows], draws.anew[rows])
        drawn = self.estimate(forward, x, last, real.labels)
        with torch.no_grad():
            before = self.estimate(self._before, x, last, real.labels)
            jitter = _JITTER * draws.jitter[rows]
            seen = self.look(real, real.x_0, real.x_0 + jitter, drawn + jitter)
        turned = 2 * drawn.detach() - drawn  # the same values, and its gradient the other way
        looks = [
            torch.cat([known, own.detach(), own])
            for known, own in zip(seen, self.look(real, turned), strict=True)
        ]
        asked = None if real.labels is None else real.labels.repeat(5)
        with self.autocast():
            judged = self._critic(looks, asked).float()
        # Of these, the student learns from `said` alone.
        true, near_true, near_drawn, still, said = judged.chunk(5)
        mistaken: Tensor = F.softplus(said - true)
        steep = ((true - near_true).square() + (still - near_drawn).square()) / _JITTER**2
        moved = (drawn - before).square().mean(dim=(1, 2, 3))
        critique = self._critique
        errors: Tensor = (mistaken + critique.slope * steep).mean(dim=1) + critique.hold * moved
        return errors.sum() / self._run.train.batch_size

    @torch.no_grad()
    def follow(
        self, forward: Forward, labels: Tensor | None, chain: Tensor, anew: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw up to each row's last evaluation: (B, C, H, W) that it begins from, (B,) which."""
        count, x = (chain >= 0).sum(dim=1), anew[:, 0].clone()
        for done in range(1, chain.shape[1]):
            going = (count > done).nonzero().flatten()
            if not len(going):
                break
            here, there = chain[going, done - 1], chain[going, done]
            asked = None if labels is None else labels[going]
            estimate = self.estimate(forward, x[going], here, asked)
            if self._run.diffusion.clip:
                estimate = estimate.clamp(-1, 1)
            x[going] = (
                _column(self._alpha[there]) * estimate
                + _column(self._sigma[there]) * anew[going, done]
            )
        return x, chain.gather(1, count[:, None] - 1).flatten()

    def estimate(self, forward: Forward, x: Tensor, which: Tensor, labels: Tensor | None) -> Tensor:
        """The estimate of x_0 at these evaluations: (B, C, H, W) float32."""
        with self.autocast():
            output = forward(x, self._t[which], labels).float()
        return _column(self._alpha[which]) * x - _column(self._sigma[which]) * output

    def look(self, noised: Noised, *pictures: Tensor) -> list[Tensor]:
        """What the network as it was sees in pictures that are noised as these rows are."""
        times = len(pictures)
        x = torch.cat([noised.alpha * x_0 + noised.sigma * noised.noise for x_0 in pictures])
        labels = None if noised.labels is None else noised.labels.repeat(times)
        with self.autocast():
            seen: list[Tensor] = self._before.features(x, noised.t.repeat(times), labels)
        return seen


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
