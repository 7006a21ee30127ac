"""UNet2DConditionModel's configuration and ours, one into the other: networks that look at text.

Of its many options those are taken that Stable Diffusion 1.x and 2.x use. Knows nothing of files
or schedulers.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.unet import TextAttention, UNetConfig
from training.conversion.options import read_options, unsupported
from training.conversion.unet import attention, block_types, picture_size, sample_size, whole
from training.errors import TrainingError

TEXT_UNET_CLASS = "UNet2DConditionModel"
_ATTENTION = "CrossAttn{}Block2D"


@dataclass(frozen=True, kw_only=True)
class UNet2DConditionOptions:
    """UNet2DConditionModel's options with its defaults (diffusers 0.42)."""

    sample_size: Any = None
    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    only_cross_attention: Any = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1
    dropout: float = 0.0
    act_fn: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    transformer_layers_per_block: Any = 1
    reverse_transformer_layers_per_block: Any = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    attention_head_dim: Any = 8
    num_attention_heads: Any = None
    dual_cross_attention: bool = False
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    num_class_embeds: int | None = None
    upcast_attention: bool | None = False
    resnet_time_scale_shift: str = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: float = 1.0
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    time_embedding_act_fn: str | None = None
    timestep_post_act: str | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3
    projection_class_embeddings_input_dim: int | None = None
    attention_type: str = "default"
    class_embeddings_concat: bool = False
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: str | None = None
    addition_embed_type_num_heads: int = 64


# upcast_attention is read and not kept: diffusers' own attention through torch does not heed it.
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "only_cross_attention": (False,),
    "downsample_padding": (0, 1),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "reverse_transformer_layers_per_block": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_attention_heads": (None,),
    "dual_cross_attention": (False,),
    "class_embed_type": (None,),
    "addition_embed_type": (None,),
    "addition_time_embed_dim": (None,),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1,),
    "time_embedding_type": ("positional",),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "projection_class_embeddings_input_dim": (None,),
    "attention_type": ("default",),
    "class_embeddings_concat": (False,),
    "mid_block_only_cross_attention": (None, False),
    "cross_attention_norm": (None,),
}


def to_text_network(where: str, data: Mapping[str, Any]) -> UNetConfig:
    """Our network for a UNet2DConditionModel's ``config.json``.

    Args:
        where: the file, as messages call it.

    Raises:
        TrainingError: an option we do not support, by its name and value.
    """
    kind = data.get("_class_name", TEXT_UNET_CLASS)
    if kind != TEXT_UNET_CLASS:
        raise unsupported(where, "_class_name", kind, (TEXT_UNET_CLASS,))
    options = read_options(where, UNet2DConditionOptions, data, _SUPPORTED)
    if options.out_channels != options.in_channels:
        raise unsupported(
            where, "in_channels", options.in_channels, (f"out_channels = {options.out_channels}",)
        )
    embed = 4 * options.block_out_channels[0] if options.block_out_channels else 0
    if options.time_embedding_dim not in (None, embed):
        raise unsupported(where, "time_embedding_dim", options.time_embedding_dim, (None, embed))
    down = attention(where, "down_block_types", options.down_block_types, "Down", kind=_ATTENTION)
    up = attention(where, "up_block_types", options.up_block_types, "Up", kind=_ATTENTION)
    if up != down[::-1]:
        wanted = block_types(down[::-1], "Up", kind=_ATTENTION)
        raise unsupported(where, "up_block_types", options.up_block_types, wanted)
    levels = len(options.block_out_channels)
    try:
        return UNetConfig(
            channels=options.in_channels,
            size=picture_size(where, options.sample_size),
            block_channels=options.block_out_channels,
            blocks_per_level=options.layers_per_block,
            attention_levels=down,
            norm_groups=options.norm_num_groups,
            norm_eps=float(options.norm_eps),
            dropout=float(options.dropout),
            downsample_padding=options.downsample_padding,
            freq_shift=float(options.freq_shift),
            flip_sin_to_cos=options.flip_sin_to_cos,
            text=TextAttention(
                width=options.cross_attention_dim,
                # What diffusers calls a head's width here is the number of heads, and stays so.
                heads=_per_level(where, "attention_head_dim", options, levels),
                layers=_per_level(where, "transformer_layers_per_block", options, levels),
                linear_projection=options.use_linear_projection,
            ),
        )
    except ValueError as error:
        raise TrainingError(f"{where}: {error}") from error


def from_text_network(network: UNetConfig) -> dict[str, Any]:
    """A UNet2DConditionModel's ``config.json`` for our network with text."""
    text = network.text
    assert text is not None
    options = UNet2DConditionOptions(
        sample_size=sample_size(network.size),
        in_channels=network.channels,
        out_channels=network.channels,
        flip_sin_to_cos=network.flip_sin_to_cos,
        freq_shift=whole(network.freq_shift),
        down_block_types=block_types(network.attention_levels, "Down", kind=_ATTENTION),
        up_block_types=block_types(network.attention_levels[::-1], "Up", kind=_ATTENTION),
        block_out_channels=network.block_channels,
        layers_per_block=network.blocks_per_level,
        downsample_padding=network.downsample_padding,
        dropout=network.dropout,
        norm_num_groups=network.norm_groups,
        norm_eps=network.norm_eps,
        cross_attention_dim=text.width,
        transformer_layers_per_block=text.layers,
        attention_head_dim=text.heads,
        use_linear_projection=text.linear_projection,
    )
    return {"_class_name": TEXT_UNET_CLASS, **dataclasses.asdict(options)}


def _per_level(
    where: str, name: str, options: UNet2DConditionOptions, levels: int
) -> tuple[int, ...]:
    value = getattr(options, name)
    values = value if isinstance(value, list | tuple) else (value,) * levels
    if any(type(item) is not int for item in values):
        raise unsupported(where, name, value, ("a whole number", "one for each level"))
    return tuple(values)
