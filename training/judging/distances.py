"""How far drawn pictures are from real ones as distributions of features: Fréchet and KID.

Both are torchmetrics' (an extra), on features that are computed already. Knows nothing of pictures.
Shapes: features (N, D) float.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.errors import TrainingError

_MOST_IN_SUBSET = 1000  # KID's, as its authors have it
_SUBSETS = 100


@dataclass(frozen=True)
class Distances:
    """Between two sets of features; smaller is nearer.

    Attributes:
        frechet: of Gaussians with their means and covariances (Heusel et al. 2017,
            arXiv:1706.08500, Eq. 6).
        kernel: squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018,
            arXiv:1801.01401, Eq. 4), unbiased, so that it may fall below 0 for equal distributions:
            the mean of a hundred subsets.
        kernel_deviation: between the subsets.
    """

    frechet: float
    kernel: float
    kernel_deviation: float


def measure_distances(drawn: Tensor, real: Tensor) -> Distances:
    """Distances between two sets of features of the same width.

    Raises:
        TrainingError: torchmetrics is not installed.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as error:
        raise TrainingError(
            "distances need torchmetrics, which is not installed; `pip install torchmetrics`, or "
            "ask for other metrics"
        ) from error
    spanned = _where_they_lie(drawn.double(), real.double())
    frechet = FrechetInceptionDistance(_Given(spanned[0].shape[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        kernel = KernelInceptionDistance(
            _Given(drawn.shape[1]),
            subsets=_SUBSETS,
            subset_size=min(_MOST_IN_SUBSET, len(drawn), len(real)),
        )
    for metric, (ours, theirs) in ((frechet, spanned), (kernel, (drawn.double(), real.double()))):
        metric.update(theirs, real=True)
        metric.update(ours, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of KID's subsets
        mean, deviation = kernel.compute()
    return Distances(float(frechet.compute()), float(mean), float(deviation))


def _where_they_lie(drawn: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The same points in axes of the space that they span, where that has fewer than theirs.

    Turning does not change Fréchet's distance, whose eigenvalues cost the cube of the width.
    """
    both = torch.cat([drawn, real])
    if len(both) < both.shape[1]:
        both = both @ torch.linalg.qr(both.T).Q
    return both[: len(drawn)], both[len(drawn) :]


class _Given(nn.Module):
    """In torchmetrics' place for a network: the features as they come."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features
