"""A U-Net's shape: everything that determines its parameters and arithmetic."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TextAttention:
    """How a network looks at text: transformer blocks wherever it has attention.

    Attributes:
        width: channels of the text states.
        heads: attention heads of each level.
        layers: transformer blocks in a row at each level; the lowest point has its level's.
        linear_projection: whether the way into and out of the blocks is a linear layer (Stable
            Diffusion 2.x) or a 1x1 convolution (1.x).
    """

    width: int
    heads: tuple[int, ...]
    layers: tuple[int, ...]
    linear_projection: bool = False


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Everything that determines the network's parameters and arithmetic.

    Attributes:
        channels: image channels C (1, 3 or 4).
        size: (height, width) in pixels, each divisible by 2 ** (levels - 1).
        block_channels: D of each level, finest first.
        blocks_per_level: residual blocks per level on the way down (one more on the way up).
        attention_levels: per level, whether each residual block is followed by attention: to the
            picture itself, and with ``text`` to that too.
        mid_attention: whether the lowest point has attention between its two blocks.
        head_dim: channels per attention head; None means a single head.
        norm_groups: groups of every GroupNorm.
        num_class_embeds: rows of the class table, the null class included; None: no classes.
        null_class: the label that means "unconditional", or None.
        downsample_padding: 1 pads evenly; 0 pads right and bottom only (older DDPM weights).
        freq_shift, flip_sin_to_cos: conventions of the sinusoidal timestep embedding.
        text: of a network that is conditioned on text; it has neither classes nor ``head_dim``.
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
    text: TextAttention | None = None

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
        self._check_widths()
        if self.downsample_padding not in (0, 1):
            raise ValueError(f"downsample_padding is 0 or 1, not {self.downsample_padding}")
        if self.null_class is not None and not 0 <= self.null_class < (self.num_class_embeds or 0):
            raise ValueError(
                f"null class {self.null_class} is not among the {self.num_class_embeds} "
                "class embeddings"
            )
        if self.text is not None:
            self._check_text(self.text)

    def _check_widths(self) -> None:
        levels = len(self.block_channels)
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

    def _check_text(self, text: TextAttention) -> None:
        levels = len(self.block_channels)
        if self.num_class_embeds is not None or self.head_dim is not None:
            raise ValueError("a network with text has neither classes nor head_dim")
        if not self.mid_attention:
            raise ValueError("a network with text has attention at its lowest point")
        for name, values in (("heads", text.heads), ("layers", text.layers)):
            if len(values) != levels or min(values) < 1:
                raise ValueError(
                    f"text.{name} = {list(values)}: give a number >= 1 for each of {levels} levels"
                )
        for level, (width, heads) in enumerate(zip(self.block_channels, text.heads, strict=True)):
            if (self.attention_levels[level] or level == levels - 1) and width % heads:
                raise ValueError(f"{width} channels are not divisible by {heads} heads")
        if text.width < 1:
            raise ValueError(f"text.width = {text.width} is not >= 1")
