"""Guidance distillation: the guided network in one evaluation (Meng et al. 2023, arXiv:2210.03142).

The student starts as a copy of the teacher, whose guided output is what it learns to say. Without a
class there is nothing to guide: there it stays the teacher.
"""

from torch import Tensor

from training.distillation.teacher import TaughtObjective
from training.run.objective import Forward, Noised


class GuidanceObjective(TaughtObjective):
    """The squared error against the guided teacher, instead of against the picture."""

    def errors(self, forward: Forward, noised: Noised) -> Tensor:
        """Each row's mean squared error, (B,)."""
        with self.autocast():
            wanted = self._teacher.output(noised)
            output = forward(noised.x_t, noised.t, noised.labels)
        return (output.float() - wanted).square().mean(dim=(1, 2, 3))
