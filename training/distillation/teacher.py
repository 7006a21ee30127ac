"""The network that a student learns from: frozen, and guided as it is told.

Shapes: B rows of (C, H, W); alpha and sigma are (B, 1, 1, 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import WEIGHTS, Model
from models.distilled import BakedGuidance
from models.guidance import evaluations
from models.sampler import END_HALF_LOG_SNR, START_HALF_LOG_SNR
from training.distillation.options import Distillation
from training.encoding.inputs import Inputs
from training.run.objective import Noised, Objective


@dataclass(frozen=True)
class Teacher:
    """A model, and where it is guided by how much; scale 1 guides nowhere."""

    model: Model
    guidance: BakedGuidance

    @property
    def identity(self) -> dict[str, str]:
        """Which checkpoint it is, for the manifests of its students."""
        manifest = self.model.manifest
        return {"model": manifest.version, "sha256": manifest.files[WEIGHTS].sha256}

    @torch.no_grad()
    def output(self, noised: Noised) -> Tensor:
        """What the network says of these rows, guided: (B, C, H, W) float32."""
        network, null = self.model.network, self.model.manifest.null_class
        said: Tensor
        if noised.labels is None or evaluations(self.guidance.scale, conditional=True) == 1:
            labels = noised.labels
            if self.guidance.scale == 0 and labels is not None and null is not None:
                labels = torch.full_like(labels, null)
            said = network(noised.x_t, noised.t, labels)
            return said.float()
        assert null is not None
        scale = guidance_at(self.guidance, noised.alpha, noised.sigma)
        rows = (scale.flatten() != 1).nonzero().flatten()  # the others ask for nothing more
        everything: Tensor = network(
            torch.cat([noised.x_t, noised.x_t[rows]]),
            torch.cat([noised.t, noised.t[rows]]),
            torch.cat([noised.labels, torch.full_like(noised.labels[rows], null)]),
        ).float()
        guided, unconditional = everything[: len(scale)], everything[len(scale) :]
        guided[rows] = unconditional + scale[rows] * (guided[rows] - unconditional)
        return guided


class TaughtObjective(Objective):
    """An objective that a teacher has a part in; classes are the teacher's.

    Attributes:
        facts: what else the weights depend on; a resumed run has the same.
    """

    facts: Mapping[str, Any] = {}

    def __init__(
        self, run: Distillation, teacher: Teacher, inputs: Inputs, *, device: torch.device
    ) -> None:
        network = teacher.model.manifest.network
        classes, null_class = network.num_class_embeds is not None, network.null_class
        super().__init__(
            run,
            classes=classes,
            null_class=null_class,
            device=device,
            shape=inputs.shape,
        )
        self._teacher = teacher


def guidance_at(guidance: BakedGuidance, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The guidance scale at each row's noise level, shaped as alpha is.

    Inside the interval it is ``guidance.scale``, outside 1 (Kynkaanniemi et al. 2024,
    arXiv:2404.07724); a run's share is counted evenly in lambda, as `dpmpp_2m` has its points.
    """
    if guidance.interval is None:
        return torch.full_like(alpha, guidance.scale)
    half_log_snr = alpha.log() - sigma.log()
    done = (half_log_snr - START_HALF_LOG_SNR) / (END_HALF_LOG_SNR - START_HALF_LOG_SNR)
    first, last = guidance.interval
    inside = (done >= first) & (done < last)
    return torch.where(inside, guidance.scale, 1.0)
