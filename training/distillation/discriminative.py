"""Direct discriminative optimization: a network that learns from what it drew itself.

A diffusion model's error on a picture bounds how likely it finds it. So the student and the model
that it was, compared, say whether a picture is real: the student's error has fallen on those that
are, and has risen on those that the model drew. Trained to tell the two apart, it comes nearer to
the real ones (Zheng et al. 2025, arXiv:2503.01103), and stays a diffusion model: drawn by the same
samplers, guided or not. No other network is needed.

Shapes: B rows of (C, H, W).
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.distillation.drawings import drawings
from training.distillation.options import Discrimination, Distillation
from training.distillation.teacher import TaughtObjective, Teacher
from training.encoding.inputs import Inputs
from training.run.objective import Draws, Forward, Noised, step_seed


@dataclass(frozen=True)
class Comparisons(Draws):
    """A batch's random numbers; (B,) ``drawn`` is which of the drawings stands beside each row."""

    drawn: Tensor


class DiscriminativeObjective(TaughtObjective):
    """The error of telling real pictures from drawn ones by how the prediction error changed."""

    def __init__(
        self, run: Distillation, teacher: Teacher, inputs: Inputs, *, device: torch.device
    ) -> None:
        super().__init__(run, teacher, inputs, device=device)
        assert isinstance(run.distill, Discrimination)
        self._discrimination = run.distill
        self._before = teacher.model.network
        self._drawings = drawings(
            teacher,
            inputs,
            run.distill.drawings,
            unlabelled=run.train.label_dropout,
            bf16=run.train.bf16,
            device=device,
        )
        self.facts = {"drawings": self._drawings.key}

    def draw(self, step: int) -> Comparisons:
        """A step's random numbers, and which drawings it sees."""
        draws = super().draw(step)
        seed = step_seed(self._run.train.seed, step, "drawings")
        generator = torch.Generator(self._device).manual_seed(seed)
        drawn = torch.randint(
            len(self._drawings), (len(draws.t),), device=self._device, generator=generator
        )
        return Comparisons(**vars(draws), drawn=drawn)

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, draws: Draws, rows: slice
    ) -> Tensor:
        """As `Objective.loss`: the mean over pairs of a real and a drawn picture, noised alike."""
        assert isinstance(draws, Comparisons)
        real = self.noised(pixels, labels, draws, rows)
        drawn = self._noised_drawings(real, draws, rows)
        taken_for_drawn = F.softplus(self.less_likely(forward, real))
        taken_for_real = F.softplus(-self.less_likely(forward, drawn))
        mistaken = taken_for_drawn + self._discrimination.drawn_weight * taken_for_real
        return mistaken.sum() / self._run.train.batch_size

    def less_likely(self, forward: Forward, noised: Noised) -> Tensor:
        """How much less likely each row has become, as a logarithm, (B,).

        It is beta times what the squared error over the whole picture has risen by.
        """
        with torch.no_grad():
            before = self.errors(self._before, noised)
        change = self.errors(forward, noised) - before
        return self._discrimination.beta * math.prod(self._shape) * change

    def _noised_drawings(self, real: Noised, draws: Comparisons, rows: slice) -> Noised:
        """The drawings beside these rows, with their noise, as of what they were drawn as."""
        x_0, labels = self._drawings.rows(draws.drawn[rows])
        x_t = real.alpha * x_0 + real.sigma * real.noise
        return replace(real, x_0=x_0, x_t=x_t, labels=labels)
