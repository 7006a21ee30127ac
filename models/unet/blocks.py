"""The U-Net's parts, under the names that diffusers gives their parameters.

Shapes: B rows, H x W positions, D channels, E the embedding's width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.unet.config import UNetConfig
from models.unet.transformer import Transformer


class _RowLinear(nn.Linear):
    """Of (B, D): a row's bits do not depend on whether it is alone.

    Libraries multiply a matrix by one vector with another kernel, which adds up in another order;
    so one row is computed as two.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if input.shape[0] != 1:
            return super().forward(input)
        return super().forward(input.repeat(2, 1))[:1]


class TimeMLP(nn.Module):
    """Frequencies of the timestep to the embedding (B, E)."""

    def __init__(self, inputs: int, embed: int) -> None:
        super().__init__()
        self.linear_1 = _RowLinear(inputs, embed)
        self.linear_2 = _RowLinear(embed, embed)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class _ResidualBlock(nn.Module):
    """GroupNorm, SiLU, conv; add the embedding; GroupNorm, SiLU, dropout, conv; add the input."""

    def __init__(self, c: UNetConfig, inputs: int, outputs: int, embed: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c.norm_groups, inputs, eps=c.norm_eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = _RowLinear(embed, outputs)
        self.norm2 = nn.GroupNorm(c.norm_groups, outputs, eps=c.norm_eps)
        self.dropout = nn.Dropout(c.dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """``embedding`` (B, E) has been through SiLU already: it is the same for every block."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        shortcut: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = shortcut + h
        return out


class Attention(nn.Module):
    """Self-attention over the H*W positions, with a residual connection.

    Attributes:
        attend: from queries, keys and values (B, heads, H*W, d) to their attention; training may
            put one of the same result here that suits its device better.
    """

    def __init__(self, c: UNetConfig, channels: int) -> None:
        super().__init__()
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = F.scaled_dot_product_attention
        self.heads = channels // (c.head_dim or channels)
        self.group_norm = nn.GroupNorm(c.norm_groups, channels, eps=c.norm_eps)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, _text: Tensor | None) -> Tensor:
        b, d, height, width = x.shape
        tokens = self.group_norm(x.flatten(2)).transpose(1, 2)

        def split(projected: Tensor) -> Tensor:
            return projected.view(b, -1, self.heads, d // self.heads).transpose(1, 2)

        h = self.attend(
            split(self.to_q(tokens)), split(self.to_k(tokens)), split(self.to_v(tokens))
        )
        out: Tensor = self.to_out[0](h.transpose(1, 2).reshape(b, -1, d))
        return x + out.transpose(1, 2).reshape(b, d, height, width)


def _attention(c: UNetConfig, level: int) -> nn.Module:
    """What follows a residual block of this level: called with h and the text or None."""
    channels = c.block_channels[level]
    if c.text is None:
        return Attention(c, channels)
    return Transformer(c.text, channels, level=level, norm_groups=c.norm_groups)


class _Downsample(nn.Module):
    def __init__(self, c: UNetConfig, level: int) -> None:
        super().__init__()
        width, padding = c.block_channels[level], c.downsample_padding
        self.asymmetric = padding == 0
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)
        return out


class _Upsample(nn.Module):
    def __init__(self, c: UNetConfig, level: int) -> None:
        super().__init__()
        width = c.block_channels[level]
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class _Level(nn.Module):
    """The blocks of one resolution, each followed by attention where asked."""

    def __init__(self, c: UNetConfig, level: int, inputs: list[int], embed: int) -> None:
        super().__init__()
        width = c.block_channels[level]
        self.resnets = nn.ModuleList(_ResidualBlock(c, i, width, embed) for i in inputs)
        self.attentions = (
            nn.ModuleList(_attention(c, level) for _ in inputs)
            if c.attention_levels[level]
            else None
        )

    def block(self, index: int, h: Tensor, embedding: Tensor, text: Tensor | None) -> Tensor:
        """One residual block and its attention."""
        h = self.resnets[index](h, embedding)
        return h if self.attentions is None else self.attentions[index](h, text)


class DownLevel(_Level):
    """A level on the way down; every result is kept in ``skips`` for the way up."""

    def __init__(self, c: UNetConfig, level: int, inputs: list[int], embed: int) -> None:
        super().__init__(c, level, inputs, embed)
        lowest = level == len(c.block_channels) - 1
        self.downsamplers = None if lowest else nn.ModuleList([_Downsample(c, level)])

    def forward(
        self, h: Tensor, embedding: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Tensor:
        for index in range(len(self.resnets)):
            h = self.block(index, h, embedding, text)
            skips.append(h)
        if self.downsamplers is not None:
            h = self.downsamplers[0](h)
            skips.append(h)
        return h


class UpLevel(_Level):
    """A level on the way up; every block also sees what the way down kept."""

    def __init__(self, c: UNetConfig, level: int, inputs: list[int], embed: int) -> None:
        super().__init__(c, level, inputs, embed)
        self.upsamplers = None if level == 0 else nn.ModuleList([_Upsample(c, level)])

    def forward(
        self, h: Tensor, embedding: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Tensor:
        for index in range(len(self.resnets)):
            h = self.block(index, torch.cat([h, skips.pop()], dim=1), embedding, text)
        return h if self.upsamplers is None else self.upsamplers[0](h)


class Mid(nn.Module):
    """The lowest point: two residual blocks with attention between them."""

    def __init__(self, c: UNetConfig, channels: int, embed: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_ResidualBlock(c, channels, channels, embed) for _ in range(2))
        lowest = len(c.block_channels) - 1
        self.attentions = nn.ModuleList([_attention(c, lowest)]) if c.mid_attention else None

    def forward(self, h: Tensor, embedding: Tensor, text: Tensor | None) -> Tensor:
        h = self.resnets[0](h, embedding)
        if self.attentions is not None:
            h = self.attentions[0](h, text)
        out: Tensor = self.resnets[1](h, embedding)
        return out
