"""Guidance distillation: the guided network in one evaluation (Meng et al. 2023, arXiv:2210.03142).

The student starts as a copy of the teacher, whose guided output is what it learns to say. Without a
class there is nothing to guide: there it stays the teacher.
"""

import torch
from torch import Tensor

from training.distillation.options import Distillation
from training.distillation.teacher import Teacher
from training.run.objective import Forward, Noised, Objective


class GuidanceObjective(Objective):
    """The squared error against the guided teacher, instead of against the picture."""

    def __init__(
        self,
        run: Distillation,
        teacher: Teacher,
        *,
        classes: bool,
        null_class: int | None,
        device: torch.device,
    ) -> None:
        super().__init__(run, classes=classes, null_class=null_class, device=device)
        self._teacher = teacher

    def errors(self, forward: Forward, noised: Noised) -> Tensor:
        """Each row's mean squared error, (B,)."""
        with self.autocast():
            wanted = self._teacher.output(noised)
            output = forward(noised.x_t, noised.t, noised.labels)
        return (output.float() - wanted).square().mean(dim=(1, 2, 3))
