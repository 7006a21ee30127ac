"""Made-up pictures, for looking at noise where no data set is at hand."""

import numpy as np
import torch
from torch import Tensor


def synthetic_pictures(
    count: int, *, channels: int, size: tuple[int, int], seed: int = 0
) -> Tensor:
    """Discs and boxes on slanted gradients; the same seed gives the same pictures.

    Returns:
        (count, C, H, W) float32 in [-1, 1].
    """
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    pictures = np.empty((count, channels, height, width), np.float32)
    for picture in pictures:
        colors = random.uniform(-1, 1, (4, channels, 1, 1))
        slant = np.clip(x * random.uniform(0, 1) + y * random.uniform(0, 1), 0, 1)
        picture[:] = colors[0] * (1 - slant) + colors[1] * slant
        (cx, cy), radius = random.uniform(0.25, 0.75, 2), random.uniform(0.12, 0.3)
        picture[:] = np.where(np.hypot(x - cx, y - cy) < radius, colors[2], picture)
        (cx, cy), half = random.uniform(0.2, 0.8, 2), random.uniform(0.06, 0.2, 2)
        box = (abs(x - cx) < half[0]) & (abs(y - cy) < half[1])
        picture[:] = np.where(box, colors[3], picture)
    return torch.from_numpy(pictures)
