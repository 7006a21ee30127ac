"""A vision transformer as DINOv2 (Oquab et al. 2023, arXiv:2304.07193), up to its class token.

The features that Stein et al. 2023 (arXiv:2306.04675) found nearest to what people see. Parameters
are named as in the published files; the shape is read off them. Not the giant one, whose blocks
differ. Shapes: pixels (B, 3, 224, 224), normalised; features (B, width).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HEAD = 64


class VisionTransformer(nn.Module):
    """Patches, a class token, blocks of attention and MLP with layer scale."""

    def __init__(self, *, width: int, depth: int, patch: int, places: int) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + places, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @classmethod
    def shaped_like(cls, state: dict[str, Tensor]) -> "VisionTransformer":
        """For these weights; KeyError or ValueError if they are another network's."""
        width, places = state["cls_token"].shape[-1], state["pos_embed"].shape[1] - 1
        if width % _HEAD or round(places**0.5) ** 2 != places:
            raise ValueError(f"width {width} and {places} places")
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        patch = state["patch_embed.proj.weight"].shape[-1]
        return cls(width=width, depth=depth, patch=patch, places=places)

    def forward(self, pixels: Tensor) -> Tensor:
        grid = self.patch_embed["proj"](pixels)
        tokens = grid.flatten(2).transpose(1, 2) + self._places(*grid.shape[-2:])
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        x = torch.cat([first, tokens], 1)
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.norm(x)[:, 0]
        return found

    def _places(self, height: int, width: int) -> Tensor:
        """The learned places, resampled to this grid."""
        learned = self.pos_embed[:, 1:]
        side = round(learned.shape[1] ** 0.5)
        square = learned.transpose(1, 2).reshape(1, -1, side, side)
        if (height, width) != (side, side):
            square = F.interpolate(square, (height, width), mode="bicubic", align_corners=False)
        return square.flatten(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.ls1 = _LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.ls2 = _LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (-1, _HEAD)).transpose(1, 2)
            for part in self.attn["qkv"](self.norm1(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.ls1(self.attn["proj"](mixed))
        out: Tensor = x + self.ls2(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))
        return out


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
