"""Weights as whole numbers of eight bits, row by row: a quarter of float32's size.

Row r of a matrix is stored as q_r = round(w_r / s_r) with s_r = max |w_r| / 127. What is no matrix
of floats stays as it is. Knows nothing of networks or files.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = ".int8_scale"


def quantise(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices (R, C) as int8 with a scale (R,) beside each; the rest as it is."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if value.ndim != 2 or not value.is_floating_point():
            found[name] = value
            continue
        scale = (value.float().abs().amax(dim=1) / 127).clamp_min(1e-12)
        found[name] = (value.float() / scale[:, None]).round().to(torch.int8)
        found[name + _SCALE] = scale
    return found


def dequantise(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `quantise`, in float32; weights that were never quantised stay as they are."""
    return {
        name: value.float() * weights[name + _SCALE][:, None] if name + _SCALE in weights else value
        for name, value in weights.items()
        if not name.endswith(_SCALE)
    }


def is_quantised(names: Mapping[str, Tensor]) -> bool:
    """Whether any of these weights is."""
    return any(name.endswith(_SCALE) for name in names)
