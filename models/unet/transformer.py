"""Attention to the picture and to a text: Transformer2DModel's topology and parameter names.

The blocks are those of Rombach et al. 2022 (arXiv:2112.10752), section 3.3 and appendix E.2.1.
Shapes: B rows, H x W positions, N = H * W, D channels, L text tokens of S channels, or their keys
and values of all K channels that a network's blocks ask, side by side: (B, 2, L, K).
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.unet.config import TextAttention

_NORM_EPS = 1e-6  # of the outer GroupNorm, whatever the rest of the network has
_KEYS = 32  # as many at once
_EXPANSION = 4  # the feed-forward part's inner width, in D


class Transformer(nn.Module):
    """Transformer blocks over all positions, with a residual connection around them."""

    def __init__(self, c: TextAttention, channels: int, *, level: int, norm_groups: int) -> None:
        super().__init__()
        self.linear = c.linear_projection
        self.norm = nn.GroupNorm(norm_groups, channels, eps=_NORM_EPS)
        self.proj_in = self._projection(channels)
        self.transformer_blocks = nn.ModuleList(
            _TransformerBlock(channels, heads=c.heads[level], text_width=c.width)
            for _ in range(c.layers[level])
        )
        self.proj_out = self._projection(channels)

    def _projection(self, channels: int) -> nn.Module:
        return nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """``x`` (B, D, H, W) after it has looked at itself and at ``text``, in either form."""
        b, d, height, width = x.shape
        h = self.norm(x)
        if self.linear:
            h = self.proj_in(h.flatten(2).transpose(1, 2).contiguous())
        else:
            h = self.proj_in(h).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, text)
        if self.linear:
            h = self.proj_out(h).transpose(1, 2).reshape(b, d, height, width)
        else:
            h = self.proj_out(h.transpose(1, 2).reshape(b, d, height, width))
        out: Tensor = x + h
        return out


class _TransformerBlock(nn.Module):
    """Self-attention, cross-attention and a feed-forward part, each added to what came in."""

    def __init__(self, channels: int, *, heads: int, text_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = TokenAttention(channels, channels, heads=heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TokenAttention(channels, text_width, heads=heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = _FeedForward(channels)

    def forward(self, h: Tensor, text: Tensor) -> Tensor:
        own = self.norm1(h)
        h = h + self.attn1(own, own)
        h = h + self.attn2(self.norm2(h), text)
        out: Tensor = h + self.ff(self.norm3(h))
        return out


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, Eq. 1) of (B, heads, N, d) tensors.

    torch 2.13's bfloat16 kernel for CPUs takes twice as long where the keys are no multiple of 32;
    so they are filled up to one, and nobody asks those.
    """
    count = key.shape[-2]
    missing = -count % _KEYS
    if not missing or query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value)
    key, value = (F.pad(one, (0, 0, 0, missing)) for one in (key, value))
    asked = _mask(count, missing).expand(query.shape[-2], -1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=asked)


@cache
def _mask(count: int, missing: int) -> Tensor:
    """What is added to the scores of so many keys, and of those behind them."""
    with torch.inference_mode(mode=False):  # for whoever comes later and wants gradients
        return torch.tensor([0.0] * count + [-torch.inf] * missing, dtype=torch.bfloat16)


class TokenAttention(nn.Module):
    """Every one of N tokens asks L others, in several heads (Vaswani et al. 2017, section 3.2).

    Attributes:
        attend: from queries (B, heads, N, d), keys and values (B, heads, L, d) to their attention;
            training may put one of the same result here that suits its device better.
        place: where its keys and values stand among those of the whole network.
    """

    def __init__(self, channels: int, other_channels: int, *, heads: int) -> None:
        super().__init__()
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = attend
        self.heads, self.place = heads, slice(0, channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(other_channels, channels, bias=False)
        self.to_v = nn.Linear(other_channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        def split(projected: Tensor) -> Tensor:
            b, count, d = projected.shape
            return projected.view(b, count, self.heads, d // self.heads).transpose(1, 2)

        if others is tokens:
            weights = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
            query, key, value = F.linear(tokens, weights).chunk(3, dim=-1)
        else:
            query = self.to_q(tokens)
            key, value = (
                self.listen(others) if others.ndim == 3 else others[..., self.place].unbind(dim=1)
            )
        h = self.attend(split(query), split(key), split(value))
        out: Tensor = self.to_out[0](h.transpose(1, 2).flatten(2))
        return out

    def listen(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (..., L, D), of (..., L, S)."""
        return self.to_k(others), self.to_v(others)


class _FeedForward(nn.Module):
    """A gated layer and a linear one, numbered as in diffusers, whose second is dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        self.net = nn.ModuleList(
            [_GEGLU(channels, inner), nn.Identity(), nn.Linear(inner, channels)]
        )

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.net[2](self.net[0](h))
        return out


class _GEGLU(nn.Module):
    """Half of the channels, each times the GELU of one of the other half (arXiv:2002.05202)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, h: Tensor) -> Tensor:
        values, gates = self.proj(h).chunk(2, dim=-1)
        out: Tensor = values * F.gelu(gates)
        return out
