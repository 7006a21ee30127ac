"""How true drawn pictures are and how much of the real ones they cover: neighbourhoods in features.

A point's ball reaches to its k-th nearest neighbour within its own set; the real points' balls
together are where real pictures lie. Knows nothing of pictures. Shapes: features (N, D) float.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# As the papers have them.
_MANIFOLD_NEIGHBOURS = 3
_DENSITY_NEIGHBOURS = 5
FEWEST = _DENSITY_NEIGHBOURS + 1


@dataclass(frozen=True)
class Coverage:
    """Shares in 0 ... 1, but density, which may exceed 1.

    Attributes:
        precision: of the drawn that lie in a real ball (Kynkaanniemi et al. 2019,
            arXiv:1904.06991, Eq. 1 and 2; k = 3).
        recall: of the real that lie in a drawn ball (the same).
        density: in how many real balls a drawn one lies, in units of the k that a real one would
            (Naeem et al. 2020, arXiv:2002.09797, Eq. 5; k = 5).
        coverage: of the real whose ball holds a drawn one (the same, Eq. 6).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def measure_coverage(drawn: Tensor, real: Tensor) -> Coverage:
    """Neighbourhoods of two sets of at least `FEWEST` features each."""
    between = torch.cdist(real.double(), drawn.double())
    real_reach = _reach(real)
    drawn_reach = _reach(drawn)
    in_real = between <= real_reach[_MANIFOLD_NEIGHBOURS][:, None]
    in_drawn = between <= drawn_reach[_MANIFOLD_NEIGHBOURS][None, :]
    held = between < real_reach[_DENSITY_NEIGHBOURS][:, None]
    return Coverage(
        precision=float(in_real.any(0).double().mean()),
        recall=float(in_drawn.any(1).double().mean()),
        density=float(held.sum(0).double().mean()) / _DENSITY_NEIGHBOURS,
        coverage=float(held.any(1).double().mean()),
    )


def _reach(points: Tensor) -> dict[int, Tensor]:
    """Each point's distance to its k-th nearest neighbour among the others: k to (N,)."""
    points = points.double()
    # Not by a matrix product, whose rounding makes a point some distance from itself.
    within = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = within.topk(_DENSITY_NEIGHBOURS + 1, largest=False).values  # the first is itself
    return {k: nearest[:, k] for k in (_MANIFOLD_NEIGHBOURS, _DENSITY_NEIGHBOURS)}
