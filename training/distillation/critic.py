"""A critic of pictures: small heads on what a frozen U-Net sees in them.

Shapes: B rows of (C, H, W); F heads.
"""

import torch
from torch import Tensor, nn

from models.unet import UNetConfig

_WIDTH = 64
_SMALLEST = 8  # a head judges at this many positions a side, or fewer


class Critic(nn.Module):
    """Says how real pictures look: a head for each level of the way down, and one for the middle.

    What it is given are a network's `features`, so that few steps teach it (Sauer et al. 2024,
    arXiv:2403.12015).
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = [*config.block_channels, config.block_channels[-1]]
        sides = [min(config.size) >> level for level in range(len(widths) - 1)]
        self.heads = nn.ModuleList(
            _Head(width, side, config.num_class_embeds)
            for width, side in zip(widths, [*sides, sides[-1]], strict=True)
        )

    def forward(self, features: list[Tensor], labels: Tensor | None) -> Tensor:
        """(B, F) judgements, greater for what looks real, without a bound."""
        said = [head(seen, labels) for head, seen in zip(self.heads, features, strict=True)]
        return torch.stack(said, dim=1)


class _Head(nn.Module):
    """Convolutions down to a small size, the mean over positions, and what the class expects there.

    Classes are judged by an inner product (Miyato and Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, width: int, side: int, classes: int | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > _SMALLEST:
            layers += [nn.Conv2d(width, _WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            width, side = _WIDTH, side // 2
        for inputs in (width, _WIDTH):
            layers += [nn.Conv2d(inputs, _WIDTH, 3, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(_WIDTH, 1)
        self.classes = None if classes is None else nn.Embedding(classes, _WIDTH)
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """(B,) judgements of (B, D, H, W) features."""
        seen = self.layers(x).mean(dim=(2, 3))
        said: Tensor = self.out(seen).flatten()
        if self.classes is not None:
            said = said + (self.classes(labels) * seen).sum(dim=1)
        return said
