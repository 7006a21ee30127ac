"""One picture file to pixels: any mode and orientation Pillow knows, to uint8 of a fixed size.

Knows nothing of folders, classes or caches. Shapes: (C, H, W), C is 1 (grey), 3 (RGB), 4 (RGBA).

What is transparent shows white where the network has no alpha channel. 16-bit levels are divided
by 257; 32-bit integers are read as 16-bit levels, floats as levels of 0 ... 255.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

Resize = Literal["crop", "squash"]

# Formats that only hold pixels; Pillow would start Ghostscript for EPS, for one.
_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI"),
    *("TGA", "TIFF", "WEBP"),
)
SUFFIXES = frozenset(
    suffix for suffix, name in Image.registered_extensions().items() if name in _FORMATS
)
_MOST_PIXELS = 64_000_000
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Unreadable(Exception):
    """A file that is no picture we can use; the message says why."""


def decode(
    data: bytes, *, size: tuple[int, int], channels: int, resize: Resize
) -> npt.NDArray[np.uint8]:
    """A file's bytes as (C, H, W) uint8.

    Raises:
        Unreadable: damaged, not a picture, or larger than 64 million pixels.
    """
    with _damage_is_unreadable():
        return to_array(_open(data), size=size, channels=channels, resize=resize)


def decode_whole(data: bytes) -> Image.Image:
    """A file's bytes as a grey or RGB picture of its own size, upright, on white.

    Raises:
        Unreadable: as `decode`.
    """
    with _damage_is_unreadable():
        return plain(_open(data))


def open_picture(data: bytes) -> Image.Image:
    """A file's bytes as a picture of its own size and mode, upright.

    Raises:
        Unreadable: as `decode`.
    """
    with _damage_is_unreadable():
        return _open(data)


def plain(image: Image.Image) -> Image.Image:
    """An opened picture in grey or RGB, on white."""
    image = _eight_bit(image)
    grey = image.mode in ("1", "L", "LA")
    return _on_white(image).convert("L" if grey else "RGB")


def _open(data: bytes) -> Image.Image:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        opened = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise Unreadable(_what_instead(data)) from error
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise Unreadable(f"{image.width}x{image.height} is over 64 million pixels")
        image.load()
        return ImageOps.exif_transpose(image)


def _what_instead(data: bytes) -> str:
    """What a file is that is no picture, as far as its first bytes tell."""
    if not data:
        return "the file is empty"
    if data[4:8] == b"ftyp":
        return "it is HEIC or a film, or a damaged AVIF; save it as JPEG or PNG"
    if data[:5] == b"%PDF-":
        return "it is a PDF; save its pictures as JPEG or PNG"
    if data.lstrip()[:1] == b"<":
        return "it is HTML or SVG, not pixels; was it fetched from a page that wanted a login?"
    return f"it is no picture that is read, or damaged where it begins ({data[:8].hex(' ')})"


@contextmanager
def _damage_is_unreadable() -> Iterator[None]:
    try:
        yield
    except Unreadable:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Unreadable("it is over 64 million pixels") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes provoke
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unreadable(f"it is damaged: {what}") from error


def to_array(
    image: Image.Image, *, size: tuple[int, int], channels: int, resize: Resize
) -> npt.NDArray[np.uint8]:
    """An opened picture as (C, H, W) uint8, ``size`` being (height, width).

    "crop" scales it until the shorter side fits and cuts the middle out; "squash" scales each
    side by itself.
    """
    image = _eight_bit(image)
    if channels != 4:
        image = _on_white(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    image = _resized(image.convert(_MODES[channels]), size, resize)
    pixels = np.asarray(image)
    return np.ascontiguousarray(
        pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), dtype=np.uint8
    )


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def _eight_bit(image: Image.Image) -> Image.Image:
    """The same picture in a mode that converts to RGB and RGBA as it should."""
    mode = image.mode
    if mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if mode == "F":
        levels = np.nan_to_num(np.asarray(image), nan=0.0, posinf=255.0, neginf=0.0)
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if mode == "LAB":
        profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None
        return converted
    straight = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}
    return image.convert(straight[mode]) if mode in straight else image


def _resized(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    box = (0.0, 0.0, float(image.width), float(image.height))
    if resize == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        box = (left, top, left + width * scale, top + height * scale)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)
