"""The denoising U-Net, from a noisy image to a prediction.

Shapes: B rows, C image channels, H x W pixels, D channels inside, E = 4 * first D (embedding); L
text tokens of S channels, and K channels of all blocks that look at them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.unet.blocks import DownLevel, Mid, TimeMLP, UpLevel
from models.unet.config import UNetConfig
from models.unet.embedding import timestep_embedding
from models.unet.transformer import TokenAttention

_MOST_KEPT = 8  # times the memory of a text's states, for what is computed of them only once


class UNet(nn.Module):
    """Predicts noise, x_0 or v from a noisy image and its timestep (Ho et al. 2020, App. B)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, c = config.block_channels, config
        embed = 4 * widths[0]

        self.conv_in = nn.Conv2d(c.channels, widths[0], 3, padding=1)
        self.time_embedding = TimeMLP(widths[0], embed)
        self.class_embedding = (
            None if c.num_class_embeds is None else nn.Embedding(c.num_class_embeds, embed)
        )

        skips = [widths[0]]
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            below = widths[max(level - 1, 0)]
            inputs = [below] + [width] * (c.blocks_per_level - 1)
            self.down_blocks.append(DownLevel(c, level, inputs, embed))
            skips += [width] * (c.blocks_per_level + (level < len(widths) - 1))

        self.mid_block = Mid(c, widths[-1], embed)

        self.up_blocks = nn.ModuleList()
        width = widths[-1]
        for level in reversed(range(len(widths))):
            before, width = width, widths[level]
            inputs = [before] + [width] * c.blocks_per_level
            inputs = [inner + skips.pop() for inner in inputs]
            self.up_blocks.append(UpLevel(c, level, inputs, embed))

        self.conv_norm_out = nn.GroupNorm(c.norm_groups, widths[0], eps=c.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], c.channels, 3, padding=1)

        self._asked = 0  # K
        for attention in self._cross_attentions():
            attention.place = slice(self._asked, self._asked + attention.to_k.out_features)
            self._asked = attention.place.stop

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """One prediction per row.

        Args:
            x_t: (B, C, H, W) noisy images in the network's dtype.
            t: (B,) timesteps, int64 or float32; fractional values are allowed, bf16 is not
                (437 would become 436).
            condition: what each row is drawn for: (B,) int64 labels, the null class included, or
                (B, L, S) text states, or what `listen` made of them. None: the null class for
                every row, or nothing where the network has no condition.

        Returns:
            (B, C, H, W) predictions, same dtype as x_t.

        Raises:
            ValueError: a condition that the network does not take, or none where it needs one.
        """
        h, skips, embedding, text = self._down(x_t, t, condition)
        for block in self.up_blocks:
            h = block(h, embedding, text, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out

    def listen(self, text: Tensor) -> Tensor:
        """What a run's every step needs of a text (L, S): its keys and values, (2, L, K).

        They come from products with weights, which need not be computed again at each step. Where
        they would take much more memory than the states, as in a large network, whose other
        products dwarf these, it is the states.
        """
        attentions = self._cross_attentions()
        if 2 * self._asked > _MOST_KEPT * text.shape[-1]:
            return text
        text = text.to(attentions[0].to_k.weight)
        heard = [attention.listen(text) for attention in attentions]
        return torch.stack([torch.cat(parts, dim=-1) for parts in zip(*heard, strict=True)])

    def _cross_attentions(self) -> list[TokenAttention]:
        named = self.named_modules()
        return [m for name, m in named if name.endswith("attn2") and isinstance(m, TokenAttention)]

    def features(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """What it sees on its way down: (B, D, H, W) after each level, and in the middle.

        Arguments and errors as those of a prediction.
        """
        h, skips, _, _ = self._down(x_t, t, condition)
        each = self.config.blocks_per_level + 1  # a level's blocks and its way to the next
        return [*skips[each - 1 :: each], h]

    def _down(
        self, x_t: Tensor, t: Tensor, condition: Tensor | None
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor | None]:
        """What leaves the middle, what is kept for the way up, the embedding, and the text."""
        c = self.config
        frequencies = timestep_embedding(
            t, c.block_channels[0], freq_shift=c.freq_shift, flip_sin_to_cos=c.flip_sin_to_cos
        )
        embedding = self.time_embedding(frequencies.to(x_t.dtype))
        labels, text = self._split(condition, x_t)
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(labels).to(embedding.dtype)
        embedding = F.silu(embedding)

        h = self.conv_in(x_t)
        skips = [h]
        for block in self.down_blocks:
            h = block(h, embedding, text, skips)
        return self.mid_block(h, embedding, text), skips, embedding, text

    def _split(self, condition: Tensor | None, x_t: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The rows' labels, and their text states; None: the network has none."""
        c = self.config
        if c.text is not None:
            known = {3: c.text.width, 4: self._asked}
            if condition is None or known.get(condition.ndim) not in condition.shape[-1:]:
                raise ValueError(f"this network needs text states (B, L, {c.text.width})")
            return None, condition.to(x_t.dtype)
        if c.num_class_embeds is None:
            if condition is not None:
                raise ValueError("this network was trained without classes; leave labels out")
        elif condition is None:
            if c.null_class is None:
                raise ValueError("this network has no null class; give a label for every row")
            condition = torch.full((x_t.shape[0],), c.null_class, device=x_t.device)
        return condition, None
