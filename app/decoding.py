"""Pictures that clients send, decoded and made to fit a model: Pillow, and no torch.

Upright, on white, in the model's size and channels: resized as training data is ("crop"), but a
picture that was enlarged here is made small again without a loss. Blocking: not for an event loop.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 16_000_000
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_FORMATS = tuple(MEDIA_TYPES)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_WHITE_ENOUGH = 128
_MOST_ENLARGED = 16
_TILE = 1024  # pixels along each side
_ORIENTATION, _SIDEWAYS = 0x0112, range(5, 9)


class BadPicture(Exception):
    """Not a picture that can be used; the message says why, and what can."""


@dataclass(frozen=True)
class Facts:
    """What a picture's file says before it is decoded; the size is that of the upright picture."""

    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Fitted:
    """A picture as a model takes it.

    Attributes:
        png: its file.
        sha256: of its pixels, row by row: the same whatever wrote the file.
    """

    png: bytes
    sha256: str


def warm_up() -> None:
    """Load Pillow's formats, which the first picture would have to wait for, and others with it."""
    Image.init()


def look(data: bytes) -> Facts:
    """What a file is, without decoding it.

    Raises:
        BadPicture: not a PNG, JPEG or WebP, animated, or of more than 16 million pixels.
    """
    with _opened(data) as image:
        width, height = image.size
        # Of a PNG that has not said so by now, Pillow would decode all to look behind its pixels.
        said = image.format != "PNG" or "exif" in image.info
        if said and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return Facts(MEDIA_TYPES[image.format or ""], width, height)


def check(data: bytes) -> Facts:
    """The same of a file that can be decoded to its end; else BadPicture."""
    facts = look(data)
    with _opened(data) as image:
        image.load()
    return facts


def fit(data: bytes, *, width: int, height: int, channels: int) -> Fitted:
    """A file's picture for a model of this size.

    Raises:
        BadPicture: as `look`, or it is damaged, or no picture has so many channels.
    """
    if channels not in _MODES:
        raise BadPicture(f"the model's pictures have {channels} channels, as no file has")
    with _opened(data) as image:
        ImageOps.exif_transpose(image, in_place=True)
        mode = _MODES[channels]
        return _fitted(_resized(_tiled(image, mode, _shown), (width, height)))


def fit_mask(data: bytes, *, width: int, height: int, of_alpha: bool = False) -> Fitted | None:
    """A file's picture as a mask: what is white, or transparent, is 255: drawn anew; else 0, kept.

    Args:
        of_alpha: as OpenAI has it: only what is transparent is drawn anew.

    Returns:
        None where nothing is kept, which is no mask.

    Raises:
        BadPicture: as `fit`, or everything is kept.
    """
    with _opened(data) as image:
        ImageOps.exif_transpose(image, in_place=True)
        drawn_anew = _tiled(image, "L", _transparent if of_alpha else _shown)
        mask = _resized(drawn_anew, (width, height))
    mask = mask.point([0] * _WHITE_ENOUGH + [255] * (256 - _WHITE_ENOUGH))
    drawn = mask.histogram()[255]
    if drawn == 0:
        raise BadPicture(
            "all of it is kept, so nothing is left to draw; make white what is to be drawn anew"
        )
    return _fitted(mask) if drawn < width * height else None


def has_holes(data: bytes) -> bool:
    """Whether a file's picture is transparent anywhere; BadPicture if it cannot be read."""
    with _opened(data) as image:
        if not image.has_transparency_data:
            return False
        return any(_tiled(image, "L", _transparent).histogram()[_WHITE_ENOUGH:])


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A file that Pillow knows, within limits; whatever its bytes provoke is a BadPicture."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise BadPicture(
                    f"{image.width}x{image.height} are more than {MOST_PIXELS:,} pixels; send a "
                    "smaller one"
                )
            # A JPEG may hold more pictures, too, of the same view: the first one is meant.
            if image.format != "JPEG" and getattr(image, "is_animated", False):
                raise BadPicture("it is animated; send a single picture")
            yield image
    except BadPicture:
        raise
    except Image.DecompressionBombError as error:
        raise BadPicture(f"more than {MOST_PIXELS:,} pixels; send a smaller one") from error
    except UnidentifiedImageError as error:
        raise BadPicture("it is no PNG, JPEG or WebP; send one of these") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes provoke
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise BadPicture(f"it cannot be decoded ({why}); send it again, whole") from error


def _tiled(
    image: Image.Image, mode: str, change: Callable[[Image.Image, str], Image.Image]
) -> Image.Image:
    """A picture changed into another mode, a tile at a time: whole ones would take much memory."""
    whole = Image.new(mode, image.size)
    for top in range(0, image.height, _TILE):
        for left in range(0, image.width, _TILE):
            right, bottom = min(left + _TILE, image.width), min(top + _TILE, image.height)
            box = (left, top, right, bottom)
            whole.paste(change(image.crop(box), mode), box)
    return whole


def _shown(image: Image.Image, mode: str) -> Image.Image:
    """As it is seen: what is transparent shows white, where the mode has no transparency."""
    image = _eight_bit(image)
    if mode != "RGBA":
        image = _on_white(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    return image.convert(mode)


def _transparent(image: Image.Image, _mode: str) -> Image.Image:
    """How transparent each place is: 255 is not there at all."""
    return ImageOps.invert(image.convert("RGBA").getchannel("A"))


def _eight_bit(image: Image.Image) -> Image.Image:
    """The same picture with levels of 0 ... 255; 16-bit ones are divided by 257."""
    if not image.mode.startswith("I"):
        return image
    levels = image.convert("I").convert("F")
    return levels.point(lambda level: level * (1 / 257) + 0.5).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    """What is transparent shows white."""
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scaled until the shorter side fits, and the middle cut out."""
    if image.size == size:
        return image
    width, height = size
    times, rest = divmod(image.width, width)
    if rest == 0 and times <= _MOST_ENLARGED and image.height == times * height:
        small = image.resize(size, Image.Resampling.NEAREST)
        if small.resize(image.size, Image.Resampling.NEAREST) == image:
            return small  # drawn here, and enlarged
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def _fitted(image: Image.Image) -> Fitted:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return Fitted(buffer.getvalue(), hashlib.sha256(image.tobytes()).hexdigest())
