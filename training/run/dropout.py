"""Dropout whose mask belongs to the picture: splitting a batch does not change it.

`torch.nn.Dropout` draws a mask for the rows it is given, so that the second half of a batch, seen
alone, would get the first half's. Here every part draws the whole batch's mask and takes its rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Part:
    size: int
    rows: slice
    generator: torch.Generator


_part: ContextVar[_Part] = ContextVar("part")  # each thread has its own


@contextmanager
def batch_part(size: int, rows: slice, *, seed: int, device: torch.device) -> Iterator[None]:
    """In the body, the network sees these rows of a batch of ``size``, whose masks ``seed`` says.

    Applies to the calling thread.
    """
    token = _part.set(_Part(size, rows, torch.Generator(device).manual_seed(seed)))
    try:
        yield
    finally:
        _part.reset(token)


class PictureDropout(nn.Dropout):
    """Drops activations (B, ...) by the rows' own mask; in training, needs a `batch_part`."""

    def forward(self, h: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return h
        part = _part.get()
        kept = torch.empty((part.size, *h.shape[1:]), dtype=h.dtype, device=h.device)
        kept.bernoulli_(1 - self.p, generator=part.generator)
        mask = kept[part.rows].clone()  # a view would keep the whole batch's until backward
        return h * mask / (1 - self.p)


def use_picture_dropout(network: nn.Module) -> None:
    """Replace every `nn.Dropout` of the network in place."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, PictureDropout(child.p))
