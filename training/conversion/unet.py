"""UNet2DModel's configuration and ours, one into the other.

The two networks have the same topology and parameter names (`models.unet`), so only the words
differ. Knows nothing of files or schedulers.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.unet import UNetConfig
from training.conversion.options import read_options, unsupported
from training.errors import TrainingError

UNET_CLASS = "UNet2DModel"
CONFIG = "config.json"
_PLAIN, _ATTENTION = "{}Block2D", "Attn{}Block2D"
# diffusers 0.0.x called its blocks UNetResDownBlock2D and so on.
_OLD_PREFIX = "UNetRes"


@dataclass(frozen=True, kw_only=True)
class UNet2DOptions:
    """UNet2DModel's options with its defaults (diffusers 0.42)."""

    sample_size: Any = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: float = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D",) + ("AttnDownBlock2D",) * 3
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D",) * 3 + ("UpBlock2D",)
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None


_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default",),
    "class_embed_type": (None,),
}


def to_network(where: str, data: Mapping[str, Any], *, null_class: int | None) -> UNetConfig:
    """Our network for a UNet2DModel's ``config.json``.

    Args:
        where: the file, as messages call it.

    Raises:
        TrainingError: an option we do not support, by its name and value.
    """
    kind = data.get("_class_name", UNET_CLASS)
    if kind != UNET_CLASS:
        raise unsupported(where, "_class_name", kind, (UNET_CLASS,))
    options = read_options(where, UNet2DOptions, data, _SUPPORTED)
    if options.out_channels != options.in_channels:
        raise unsupported(
            where, "out_channels", options.out_channels, (f"in_channels = {options.in_channels}",)
        )
    embed = 4 * options.block_out_channels[0] if options.block_out_channels else 0
    if options.time_embedding_dim not in (None, embed):
        raise unsupported(where, "time_embedding_dim", options.time_embedding_dim, (None, embed))
    groups = options.norm_num_groups
    if options.attn_norm_num_groups not in (None, groups):
        raise unsupported(
            where, "attn_norm_num_groups", options.attn_norm_num_groups, (None, groups)
        )
    levels = attention(where, "down_block_types", options.down_block_types, "Down")
    mirrored = attention(where, "up_block_types", options.up_block_types, "Up")
    if mirrored != levels[::-1]:
        wanted = block_types(levels[::-1], "Up")
        raise unsupported(where, "up_block_types", options.up_block_types, wanted)
    try:
        return UNetConfig(
            channels=options.in_channels,
            size=picture_size(where, options.sample_size),
            block_channels=options.block_out_channels,
            blocks_per_level=options.layers_per_block,
            attention_levels=levels,
            mid_attention=options.add_attention,
            head_dim=options.attention_head_dim,
            norm_groups=groups,
            norm_eps=float(options.norm_eps),
            dropout=float(options.dropout),
            num_class_embeds=options.num_class_embeds,
            null_class=null_class,
            downsample_padding=options.downsample_padding,
            freq_shift=float(options.freq_shift),
            flip_sin_to_cos=options.flip_sin_to_cos,
        )
    except ValueError as error:
        raise TrainingError(f"{where}: {error}") from error


def from_network(network: UNetConfig) -> dict[str, Any]:
    """A UNet2DModel's ``config.json`` for our network."""
    options = UNet2DOptions(
        sample_size=sample_size(network.size),
        in_channels=network.channels,
        out_channels=network.channels,
        freq_shift=whole(network.freq_shift),
        flip_sin_to_cos=network.flip_sin_to_cos,
        down_block_types=block_types(network.attention_levels, "Down"),
        up_block_types=block_types(network.attention_levels[::-1], "Up"),
        block_out_channels=network.block_channels,
        layers_per_block=network.blocks_per_level,
        downsample_padding=network.downsample_padding,
        dropout=network.dropout,
        attention_head_dim=network.head_dim,
        norm_num_groups=network.norm_groups,
        norm_eps=network.norm_eps,
        add_attention=network.mid_attention,
        num_class_embeds=network.num_class_embeds,
    )
    return {"_class_name": UNET_CLASS, **dataclasses.asdict(options)}


def attention(
    where: str, name: str, types: tuple[str, ...], way: str, *, kind: str = _ATTENTION
) -> tuple[bool, ...]:
    """Which levels have attention, as the names of their blocks say; ``kind`` is theirs then."""
    known = (_PLAIN.format(way), kind.format(way))
    plain = [block.removeprefix(_OLD_PREFIX) for block in types]
    for block in plain:
        if block not in known:
            raise unsupported(where, name, block, known)
    return tuple(block == known[1] for block in plain)


def block_types(levels: tuple[bool, ...], way: str, *, kind: str = _ATTENTION) -> tuple[str, ...]:
    """The reverse of `attention`."""
    return tuple((kind if here else _PLAIN).format(way) for here in levels)


def picture_size(where: str, value: Any) -> tuple[int, int]:
    """(height, width) as `sample_size` says them."""
    sides = value if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or any(type(side) is not int for side in sides):
        raise unsupported(where, "sample_size", value, ("a side", "[height, width]"))
    height, width = sides
    return height, width


def sample_size(size: tuple[int, int]) -> int | list[int]:
    """The reverse of `picture_size`."""
    height, width = size
    return height if height == width else [height, width]


def whole(value: float) -> float:
    """What diffusers types as int, as int; a fraction stays one."""
    return int(value) if value == int(value) else value
