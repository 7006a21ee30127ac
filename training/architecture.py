"""`[network]` of a run's configuration: from a few numbers to the U-Net's shape, and back."""

import math
from dataclasses import dataclass

from models.unet import TextAttention, UNetConfig
from training.errors import TrainingError
from training.sections import Data

_CONVENTIONS = (
    "mid_attention",
    "norm_eps",
    "downsample_padding",
    "freq_shift",
    "flip_sin_to_cos",
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """`[network]`: the U-Net's shape; `attention` lists the resolutions (height) that have it.

    With `[text]`, `transformer_layers` blocks stand wherever there is attention. The last five are
    conventions of weights that come from elsewhere, as `UNetConfig` has them.
    """

    base: int
    multipliers: tuple[int, ...]
    blocks_per_level: int = 2
    attention: tuple[int, ...] = ()
    head_dim: int | None = None
    norm_groups: int = 32
    dropout: float = 0.0
    transformer_layers: int = 1
    mid_attention: bool = True
    norm_eps: float = 1e-5
    downsample_padding: int = 1
    freq_shift: float = 0.0
    flip_sin_to_cos: bool = True

    def __post_init__(self) -> None:
        if self.base < 2 or self.base % 2:
            raise TrainingError(
                f"network.base = {self.base} is not an even number >= 2: half of the timestep "
                "embedding's channels are sines, half cosines"
            )
        if self.blocks_per_level < 1:
            raise TrainingError(f"network.blocks_per_level = {self.blocks_per_level} is not >= 1")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"network.dropout = {self.dropout} is not in 0 ... below 1")

    def build(
        self,
        data: Data,
        classes: int,
        *,
        null_class: bool,
        latent: tuple[int, int, int] | None = None,
        text_width: int | None = None,
    ) -> UNetConfig:
        """The network for pictures of this size with this many classes.

        Args:
            latent: (channels, height, width) of the latents that stand for the pictures.
            text_width: channels of the text states; None: no text.
        """
        channels, height, width = latent or (data.channels, *data.size)
        if min(self.multipliers, default=0) < 1:
            raise TrainingError(
                f"network.multipliers = {list(self.multipliers)}: give one number >= 1 per level, "
                "for example [1, 2, 4]"
            )
        heights = [height // 2**level for level in range(len(self.multipliers))]
        unknown = set(self.attention) - set(heights)
        if unknown:
            raise TrainingError(
                f"network.attention names resolution {min(unknown)}, but the levels are "
                f"{', '.join(map(str, heights))} pixels high"
            )
        try:
            return UNetConfig(
                channels=channels,
                size=(height, width),
                block_channels=tuple(self.base * m for m in self.multipliers),
                blocks_per_level=self.blocks_per_level,
                attention_levels=tuple(h in self.attention for h in heights),
                head_dim=self.head_dim if text_width is None else None,
                norm_groups=self.norm_groups,
                dropout=self.dropout,
                num_class_embeds=(classes + null_class) or None,
                null_class=classes if null_class and classes else None,
                text=None if text_width is None else self._text(text_width),
                **{name: getattr(self, name) for name in _CONVENTIONS},
            )
        except ValueError as error:
            raise TrainingError(f"[network] {error}") from error

    @classmethod
    def of(cls, network: UNetConfig) -> "Network":
        """The section that builds a network like this one, which has no text."""
        base = math.gcd(*network.block_channels)
        return cls(
            base=base,
            multipliers=tuple(channels // base for channels in network.block_channels),
            blocks_per_level=network.blocks_per_level,
            attention=tuple(
                network.size[0] // 2**level
                for level, wanted in enumerate(network.attention_levels)
                if wanted
            ),
            head_dim=network.head_dim,
            norm_groups=network.norm_groups,
            dropout=network.dropout,
            **{name: getattr(network, name) for name in _CONVENTIONS},
        )

    def _text(self, width: int) -> TextAttention:
        widths = [self.base * m for m in self.multipliers]
        return TextAttention(
            width=width,
            heads=tuple(max(1, w // (self.head_dim or w)) for w in widths),
            layers=(self.transformer_layers,) * len(widths),
            linear_projection=True,
        )
