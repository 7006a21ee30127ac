"""Where a run starts, and what it is held to: noise mixed of two seeds, a picture that is known.

Shapes: a row's state is (C, H, W), or (B, C, H, W) of rows that share one known picture.
Knows nothing of requests or files: a known picture is a tensor as the network sees pictures.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.sampler import Table


def mix(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985, section 3.3) of two rows' noise.

    Half of one noise and half of another, added up, would be too weak to be noise; on the arc
    between them it is as strong everywhere.

    Args:
        first, second: (C, H, W) float32 each; one row, so that its bits depend on no other.
        share: 0 is ``first`` and 1 is ``second``, to the bit.
    """
    if share in (0.0, 1.0):
        return second if share else first
    a, b = first.double().flatten(), second.double().flatten()
    cosine = (a @ b / (a.norm() * b.norm())).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    # Two seeds that are one have no arc between them: there is nothing to mix.
    apart = sine > 1e-6
    sine = torch.where(apart, sine, torch.ones_like(sine))
    mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine
    return torch.where(apart, mixed, a).float().view(first.shape)


@dataclass(frozen=True, eq=False)
class Known:
    """A picture that a run begins from, is held to in places, or both.

    Attributes:
        x_0: (C, H, W) float32, clean.
        kept: (1, H, W) bool, places that stay those of x_0; None: nothing is held.
        begins: whether the run begins from x_0 everywhere; else from noise, but in kept places.
    """

    x_0: Tensor
    kept: Tensor | None = None
    begins: bool = True

    def first(self, table: Table, noise: Tensor) -> Tensor:
        """The state before the table's first row: x_0 with as much noise as that row expects."""
        x = self._noised(float(table.alpha[0]), float(table.sigma[0]), noise)
        if self.begins:
            return x
        return noise if self.kept is None else torch.where(self.kept, x, noise)

    def hold(
        self, table: Table, k: int, x: Tensor, estimate: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The state after step ``k``, and its estimate of x_0, with kept places as they are known.

        As noisy as the next row expects, with the row's first noise (RePaint, Lugmayr et al. 2022,
        arXiv:2201.09865, Eq. 8a, but with the same noise throughout); after the last step, x_0.
        """
        if self.kept is None:
            return x, estimate
        known = self.x_0
        if k + 1 < table.steps:
            known = self._noised(float(table.alpha[k + 1]), float(table.sigma[k + 1]), noise)
        return torch.where(self.kept, known, x), torch.where(self.kept, self.x_0, estimate)

    def _noised(self, alpha: float, sigma: float, noise: Tensor) -> Tensor:
        """The forward process (Ho et al. 2020, Eq. 4)."""
        return alpha * self.x_0 + sigma * noise
