"""The training pictures nearest to drawn ones: does a model copy?

Near is small mean squared difference of pixels. What is too near is told by real pictures that the
model has not seen: a drawn picture should be no nearer to the training data than they are.
Shapes: pictures (N, C, H, W) uint8.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SHOWN = 3  # neighbours kept of each picture
_COPY_SHARE = 0.01
_AT_ONCE = 4096


@dataclass(frozen=True)
class Nearest:
    """Of N pictures, the `SHOWN` nearest training pictures, nearest first.

    Attributes:
        indices: (N, SHOWN) int64 into the training data; fewer where it has fewer pictures.
        levels: (N, SHOWN) root mean square differences, in grey levels of 0 ... 255.
    """

    indices: Tensor
    levels: Tensor


@dataclass(frozen=True)
class Copying:
    """Drawn pictures' distances to their nearest training picture, against unseen real ones'.

    Attributes:
        nearer: the chance that a drawn picture is nearer than an unseen real one; 0.5 is as it
            should be, 1 a model that copies (the U statistic of Meehan et al. 2020,
            arXiv:2004.05675, Sec. 3, ties counted half).
        copies: share of the drawn that are nearer than all but one in a hundred of the unseen.
        drawn, unseen: median distances in grey levels.
    """

    nearer: float
    copies: float
    drawn: float
    unseen: float


def find_nearest(pictures: Tensor, training: npt.NDArray[np.uint8]) -> Nearest:
    """The nearest training pictures of each, by brute force."""
    wanted = _flat(pictures)
    squares = wanted.square().sum(1, keepdim=True)
    count = min(SHOWN, len(training))
    best = torch.full((len(wanted), count), torch.inf)
    indices = torch.zeros((len(wanted), count), dtype=torch.int64)
    for start in range(0, len(training), _AT_ONCE):
        some = _flat(torch.tensor(training[start : start + _AT_ONCE]))
        squared = squares + some.square().sum(1) - 2 * (wanted @ some.T)
        near = squared.topk(min(count, len(some)), largest=False)
        both = torch.cat([best, near.values], 1)
        best, places = both.topk(count, largest=False)
        indices = torch.cat([indices, near.indices + start], 1).gather(1, places)
    return _exactly(pictures, training, indices)


def measure_copying(drawn: Nearest, unseen: Nearest) -> Copying:
    """How near drawn pictures come to training pictures, against how near unseen ones do."""
    ours, theirs = drawn.levels[:, 0].contiguous(), unseen.levels[:, 0].sort().values
    below = torch.searchsorted(theirs, ours, side="left")
    up_to = torch.searchsorted(theirs, ours, side="right")
    nearer = (len(theirs) - (below + up_to) / 2) / len(theirs)
    return Copying(
        nearer=float(nearer.mean()),
        copies=float((ours < theirs.quantile(_COPY_SHARE)).double().mean()),
        drawn=float(ours.median()),
        unseen=float(theirs.median()),
    )


def _flat(pictures: Tensor) -> Tensor:
    return pictures.flatten(1).float() / 255


def _exactly(pictures: Tensor, training: npt.NDArray[np.uint8], indices: Tensor) -> Nearest:
    """The same neighbours with distances that are not blurred by the large product's rounding."""
    theirs = torch.tensor(training[indices.numpy()]).float()
    levels = (theirs - pictures[:, None].float()).square().flatten(2).mean(2).sqrt()
    order = levels.argsort(dim=1, stable=True)
    return Nearest(indices.gather(1, order), levels.gather(1, order))
