"""Attention in bfloat16 on a CPU, by two plain products instead of torch's fused kernel.

torch 2.13's fused CPU kernel computes bfloat16 in float32 and takes two to three times as long,
forward and backward, as the products, which run on the processor's bfloat16 instructions. Where the
scores would need much memory, the fused kernel stays.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.unet import Attention, TokenAttention

_MOST_POSITIONS = 1024  # 32x32


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, Eq. 1) of (B, heads, N, d) tensors."""
    if query.shape[-2] > _MOST_POSITIONS:
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value


def use_plain_attention(network: nn.Module) -> None:
    """Let every attention of the network compute by `attend`."""
    for module in network.modules():
        if isinstance(module, Attention | TokenAttention):
            module.attend = attend
