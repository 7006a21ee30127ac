"""The denoising U-Net: diffusers' UNet2DModel topology and parameter names, in plain torch.

A state dict of this network loads into ``diffusers.UNet2DModel`` and back, name for name.
Knows nothing of schedules, samplers, training or files.

Shapes: B rows, C image channels, H x W pixels, D channels inside, E = 4 * first D (embedding).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Everything that determines the network's parameters and arithmetic.

    Attributes:
        channels: image channels C (1, 3 or 4).
        size: (height, width) in pixels, each divisible by 2 ** (levels - 1).
        block_channels: D of each level, finest first.
        blocks_per_level: residual blocks per level on the way down (one more on the way up).
        attention_levels: per level, whether each residual block is followed by self-attention.
        mid_attention: whether the lowest point has attention between its two blocks.
        head_dim: channels per attention head; None means a single head.
        norm_groups: groups of every GroupNorm.
        num_class_embeds: rows of the class table, the null class included; None: no classes.
        null_class: the label that means "unconditional", or None.
        downsample_padding: 1 pads evenly; 0 pads right and bottom only (older DDPM weights).
        freq_shift, flip_sin_to_cos: conventions of the sinusoidal timestep embedding.
    """

    channels: int
    size: tuple[int, int]
    block_channels: tuple[int, ...]
    blocks_per_level: int = 2
    attention_levels: tuple[bool, ...] = ()
    mid_attention: bool = True
    head_dim: int | None = None
    norm_groups: int = 32
    norm_eps: float = 1e-5
    dropout: float = 0.0
    num_class_embeds: int | None = None
    null_class: int | None = None
    downsample_padding: int = 1
    freq_shift: float = 0.0
    flip_sin_to_cos: bool = True

    def __post_init__(self) -> None:
        levels = len(self.block_channels)
        counts = (self.channels, *self.size, *self.block_channels, self.norm_groups)
        if min(counts) < 1 or (self.head_dim is not None and self.head_dim < 1):
            raise ValueError("channels, sizes, widths, norm_groups and head_dim are at least 1")
        if levels == 0 or self.blocks_per_level < 1:
            raise ValueError("a network needs at least one level and one block per level")
        if len(self.attention_levels) != levels:
            raise ValueError(
                f"attention_levels has {len(self.attention_levels)} entries for {levels} levels; "
                "give one per level"
            )
        divisor = 2 ** (levels - 1)
        if any(side < divisor or side % divisor for side in self.size):
            raise ValueError(
                f"size {self.size[0]}x{self.size[1]} is not divisible by {divisor}, "
                f"which {levels} levels need; resize the pictures or use fewer levels"
            )
        for level, width in enumerate(self.block_channels):
            if width % self.norm_groups:
                raise ValueError(
                    f"{width} channels are not divisible by {self.norm_groups} norm groups; "
                    "lower norm_groups or change the width"
                )
            attends = self.attention_levels[level] or (self.mid_attention and level == levels - 1)
            if attends and self.head_dim is not None and width % self.head_dim:
                raise ValueError(f"{width} channels are not divisible by head_dim {self.head_dim}")
        if self.downsample_padding not in (0, 1):
            raise ValueError(f"downsample_padding is 0 or 1, not {self.downsample_padding}")
        if self.null_class is not None and not 0 <= self.null_class < (self.num_class_embeds or 0):
            raise ValueError(
                f"null class {self.null_class} is not among the {self.num_class_embeds} "
                "class embeddings"
            )


class UNet(nn.Module):
    """Predicts noise, x_0 or v from a noisy image and its timestep (Ho et al. 2020, App. B)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, c = config.block_channels, config
        embed = 4 * widths[0]

        self.conv_in = nn.Conv2d(c.channels, widths[0], 3, padding=1)
        self.time_embedding = _TimeMLP(widths[0], embed)
        self.class_embedding = (
            None if c.num_class_embeds is None else nn.Embedding(c.num_class_embeds, embed)
        )

        skips = [widths[0]]
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            below = widths[max(level - 1, 0)]
            inputs = [below] + [width] * (c.blocks_per_level - 1)
            self.down_blocks.append(_DownLevel(c, level, inputs, embed))
            skips += [width] * (c.blocks_per_level + (level < len(widths) - 1))

        self.mid_block = _Mid(c, widths[-1], embed)

        self.up_blocks = nn.ModuleList()
        width = widths[-1]
        for level in reversed(range(len(widths))):
            before, width = width, widths[level]
            inputs = [before] + [width] * c.blocks_per_level
            inputs = [inner + skips.pop() for inner in inputs]
            self.up_blocks.append(_UpLevel(c, level, inputs, embed))

        self.conv_norm_out = nn.GroupNorm(c.norm_groups, widths[0], eps=c.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], c.channels, 3, padding=1)

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """One prediction per row.

        Args:
            x_t: (B, C, H, W) noisy images in the network's dtype.
            t: (B,) timesteps, int64 or float32; fractional values are allowed, bf16 is not
                (437 would become 436).
            labels: (B,) int64 classes, the null class included. None: the null class for every
                row, or no class where the network has none.

        Returns:
            (B, C, H, W) predictions, same dtype as x_t.

        Raises:
            ValueError: labels for a network without classes, or none where there is no null class.
        """
        c = self.config
        frequencies = timestep_embedding(
            t, c.block_channels[0], freq_shift=c.freq_shift, flip_sin_to_cos=c.flip_sin_to_cos
        )
        embedding = self.time_embedding(frequencies.to(x_t.dtype))
        if self.class_embedding is not None:
            if labels is None:
                if c.null_class is None:
                    raise ValueError("this network has no null class; give a label for every row")
                labels = torch.full((x_t.shape[0],), c.null_class, device=x_t.device)
            embedding = embedding + self.class_embedding(labels).to(embedding.dtype)
        elif labels is not None:
            raise ValueError("this network was trained without classes; leave labels out")
        embedding = F.silu(embedding)

        h = self.conv_in(x_t)
        skips = [h]
        for block in self.down_blocks:
            h = block(h, embedding, skips)
        h = self.mid_block(h, embedding)
        for block in self.up_blocks:
            h = block(h, embedding, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out


def timestep_embedding(
    t: Tensor, dim: int, *, freq_shift: float = 0.0, flip_sin_to_cos: bool = True
) -> Tensor:
    """Sinusoidal embedding of timesteps (Vaswani et al. 2017, section 3.5), in float32.

    Args:
        t: (B,) timesteps, integer or fractional.
        dim: even width of the embedding.

    Returns:
        (B, dim) float32: cosines then sines, or sines then cosines when not flipped.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / (half - freq_shift)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * exponent)
    sines, cosines = angles.sin(), angles.cos()
    return torch.cat([cosines, sines] if flip_sin_to_cos else [sines, cosines], dim=-1)


class _TimeMLP(nn.Module):
    def __init__(self, inputs: int, embed: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, embed)
        self.linear_2 = nn.Linear(embed, embed)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class _ResidualBlock(nn.Module):
    """GroupNorm, SiLU, conv; add the embedding; GroupNorm, SiLU, dropout, conv; add the input."""

    def __init__(self, c: UNetConfig, inputs: int, outputs: int, embed: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c.norm_groups, inputs, eps=c.norm_eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(embed, outputs)
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

    def forward(self, x: Tensor) -> Tensor:
        b, d, height, width = x.shape
        tokens = self.group_norm(x.flatten(2)).transpose(1, 2)

        def split(projected: Tensor) -> Tensor:
            return projected.view(b, -1, self.heads, d // self.heads).transpose(1, 2)

        h = self.attend(
            split(self.to_q(tokens)), split(self.to_k(tokens)), split(self.to_v(tokens))
        )
        out: Tensor = self.to_out[0](h.transpose(1, 2).reshape(b, -1, d))
        return x + out.transpose(1, 2).reshape(b, d, height, width)


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
            nn.ModuleList(Attention(c, width) for _ in inputs)
            if c.attention_levels[level]
            else None
        )

    def block(self, index: int, h: Tensor, embedding: Tensor) -> Tensor:
        """One residual block and its attention."""
        h = self.resnets[index](h, embedding)
        return h if self.attentions is None else self.attentions[index](h)


class _DownLevel(_Level):
    """A level on the way down; every result is kept in ``skips`` for the way up."""

    def __init__(self, c: UNetConfig, level: int, inputs: list[int], embed: int) -> None:
        super().__init__(c, level, inputs, embed)
        lowest = level == len(c.block_channels) - 1
        self.downsamplers = None if lowest else nn.ModuleList([_Downsample(c, level)])

    def forward(self, h: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for index in range(len(self.resnets)):
            h = self.block(index, h, embedding)
            skips.append(h)
        if self.downsamplers is not None:
            h = self.downsamplers[0](h)
            skips.append(h)
        return h


class _UpLevel(_Level):
    """A level on the way up; every block also sees what the way down kept."""

    def __init__(self, c: UNetConfig, level: int, inputs: list[int], embed: int) -> None:
        super().__init__(c, level, inputs, embed)
        self.upsamplers = None if level == 0 else nn.ModuleList([_Upsample(c, level)])

    def forward(self, h: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for index in range(len(self.resnets)):
            h = self.block(index, torch.cat([h, skips.pop()], dim=1), embedding)
        return h if self.upsamplers is None else self.upsamplers[0](h)


class _Mid(nn.Module):
    def __init__(self, c: UNetConfig, channels: int, embed: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_ResidualBlock(c, channels, channels, embed) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(c, channels)]) if c.mid_attention else None

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        h = self.resnets[0](h, embedding)
        if self.attentions is not None:
            h = self.attentions[0](h)
        out: Tensor = self.resnets[1](h, embedding)
        return out
