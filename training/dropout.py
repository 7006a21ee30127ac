"""Dropout whose mask belongs to the picture: splitting a batch does not change it.

`torch.nn.Dropout` draws a mask for the rows it is given, so that the second half of a batch, seen
alone, would get the first half's. Here every part draws the whole batch's mask and takes its rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Part:
    """Which rows of a batch of ``size`` the network sees now."""

    size: int
    rows: slice


class PictureDropout(nn.Dropout):
    """Drops activations (B, ...) by the rows' own mask; draws from the global generator."""

    def __init__(self, p: float, part: Part) -> None:
        super().__init__(p)
        self._part = part

    def forward(self, h: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return h
        shape = (self._part.size, *h.shape[1:])
        kept = torch.empty(shape, dtype=h.dtype, device=h.device).bernoulli_(1 - self.p)
        return h * kept[self._part.rows] / (1 - self.p)


def use_picture_dropout(network: nn.Module, part: Part) -> None:
    """Replace every `nn.Dropout` of the network in place."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, PictureDropout(child.p, part))
