"""Tensors to PNG files: grids of pictures, and denoising strips.

Shapes: images (B, C, H, W) in [-1, 1]; C is 1 (grey), 3 (RGB) or 4 (RGBA).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.guidance import WHOLE
from models.sample import draw, strip_steps, to_uint8
from models.sampler import Table
from models.unet import UNet

GAP = 2  # pixels between pictures, before they are enlarged


def grid(images: Tensor, *, columns: int, gap: int = GAP, scale: int = 1) -> Image.Image:
    """Lay images out row by row on white, each enlarged ``scale`` times without smoothing."""
    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8
    )
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def strip(
    network: UNet,
    table: Table,
    *,
    seeds: Tensor,
    labels: Tensor | None,
    null: Tensor | None = None,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = WHOLE,
    clip: bool,
    frames: int = 9,
    scale: int = 2,
    show: Callable[[Tensor], Tensor] | None = None,
) -> Image.Image:
    """The denoising scroll: a row per seed, ``frames`` moments left to right, noise first.

    Args:
        show: makes pictures of what the network draws, where these are latents.
    """
    sequence = moments(
        network,
        table,
        seeds=seeds,
        labels=labels,
        null=null,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        clip=clip,
        frames=frames,
    )
    return scroll(sequence, scale=scale, show=show)


def scroll(
    sequence: Tensor, *, scale: int = 2, show: Callable[[Tensor], Tensor] | None = None
) -> Image.Image:
    """What `moments` gives, a row per seed; a moment's noise reaches far beyond what is shown."""
    shown = sequence.flatten(0, 1)
    return grid(show(shown) if show else shown, columns=sequence.shape[1], scale=scale)


def moments(
    network: UNet,
    table: Table,
    *,
    seeds: Tensor,
    labels: Tensor | None,
    null: Tensor | None = None,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = WHOLE,
    clip: bool,
    frames: int = 9,
) -> Tensor:
    """(B, frames, C, H, W): how each row came to be, from its noise to what was drawn."""
    chosen = strip_steps(table.steps, frames)
    kept: list[Tensor] = []

    def keep(k: int, x: Tensor, _: Tensor) -> None:
        if k in chosen:
            kept.append(x)

    final = draw(
        network,
        table,
        seeds=seeds,
        labels=labels,
        null=null,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        clip=clip,
        on_step=keep,
    )
    return torch.stack([*kept, final], dim=1)


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG")
