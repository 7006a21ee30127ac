"""Attention in bfloat16 on a CPU, by two plain products instead of torch's fused kernel.

torch 2.13's fused CPU kernel computes bfloat16 in float32 and takes two to three times as long,
forward and backward, as the products, which run on the processor's bfloat16 instructions. Where the
scores would need much memory, the fused kernel stays.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MOST_POSITIONS = 1024  # 32x32


class PlainAttention(TorchFunctionMode):
    """While entered, `scaled_dot_product_attention` is computed by `attend`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention and args[0].shape[-2] <= _MOST_POSITIONS:
            return attend(*args)
        return func(*args, **(kwargs or {}))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, Eq. 1) of (B, heads, N, d) tensors."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value
