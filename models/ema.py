"""Exponential moving average of weights: the only weights that are ever served.

The warm-up follows Karras et al. 2024 in spirit: early on the average forgets quickly, so that
it is useful from the first report; decay_k = min(decay, (1 + k) / (10 + k)) after k updates.
"""

import torch
from torch import Tensor, nn


class EMA:
    """Float32 shadow copy of a network's parameters, which it follows."""

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay lies in [0, 1), not {decay}")
        self.decay = decay
        self.updates = 0
        self._live = list(network.parameters())
        self.weights = {
            name: value.detach().clone().float() for name, value in network.named_parameters()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        shadow = list(self.weights.values())
        torch._foreach_lerp_(shadow, [value.float() for value in self._live], 1 - decay)

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Overwrite the network's parameters with the average."""
        params: dict[str, Tensor] = dict(network.named_parameters())
        for name, value in self.weights.items():
            params[name].copy_(value)
