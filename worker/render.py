"""Pixels to PNG bytes that depend on nothing but what the picture is.

The text chunks name the model, seed and parameters, so a file found on a disk can be drawn again.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wire.picture import Picture, shared_text
from worker.engine.work import Pixels

_GAP = 2
_MOST_PIXELS = 2**24  # of a strip: it is enlarged less rather than grow beyond


def plain_png(pixels: Pixels) -> bytes:
    """Encode (H, W, C) uint8 as it is, without text."""
    return _encode(pixels, {})


def strip_png(rows: list[tuple[Pixels, ...]], pictures: Sequence[Picture]) -> bytes:
    """The denoising scroll: a row per picture, its frames left to right, noise first."""
    frames, (height, width, channels) = len(rows[0]), rows[0][0].shape
    sheet = np.full(
        (len(rows) * (height + _GAP) - _GAP, frames * (width + _GAP) - _GAP, channels),
        255,
        np.uint8,
    )
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            top, left = y * (height + _GAP), x * (width + _GAP)
            sheet[top : top + height, left : left + width] = frame
    scale = pictures[0].scale
    while scale > 1 and sheet.shape[0] * sheet.shape[1] * scale**2 > _MOST_PIXELS:
        scale -= 1
    return _encode(_enlarge(sheet, scale), shared_text(pictures, scale=scale))


def png(pixels: Pixels, picture: Picture) -> bytes:
    """Encode a picture with what it is; ``pixels`` is (H, W, C) uint8."""
    return _encode(_enlarge(pixels, picture.scale), picture.text())


def _enlarge(pixels: Pixels, scale: int) -> Pixels:
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _encode(pixels: Pixels, text: Mapping[str, str]) -> bytes:
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()
