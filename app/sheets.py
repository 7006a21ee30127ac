"""All images of a generation in one file: a grid, or an archive. Pure: bytes in, bytes out."""

import io
import math
import zipfile

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.exceptions import InvalidField

_GAP = 2
_MOST_PIXELS = 2**24
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same pictures make the same archive


def grid_png(pngs: list[bytes]) -> bytes:
    """Lay equally large PNGs out in a near-square grid on white; one is returned as it is.

    The sheet has some 2^24 pixels at most: larger pictures are shrunk by a whole number.
    """
    if len(pngs) == 1:
        return pngs[0]
    with Image.open(io.BytesIO(pngs[0])) as first:
        (width, height), mode, bands = first.size, first.mode, len(first.getbands())
    columns = math.ceil(math.sqrt(len(pngs)))
    rows = math.ceil(len(pngs) / columns)
    shrink = _shrink(width, height, most=_MOST_PIXELS / (columns * rows))
    width, height = width // shrink, height // shrink
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    sheet = Image.new(mode, size, 255 if mode == "L" else (255,) * bands)
    for i, data in enumerate(pngs):  # decoded one at a time
        with Image.open(io.BytesIO(data)) as image:
            tile = image.resize((width, height), Image.Resampling.NEAREST) if shrink > 1 else image
            sheet.paste(tile, ((i % columns) * (width + _GAP), (i // columns) * (height + _GAP)))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def rescaled(png: bytes, drawn: int, scale: int) -> bytes:
    """A picture that was enlarged ``drawn`` times as if it had been ``scale`` times, to the byte.

    Raises:
        InvalidField: it would be too large.
    """
    with Image.open(io.BytesIO(png)) as image:
        size = (image.width // drawn * scale, image.height // drawn * scale)
        if size[0] * size[1] > _MOST_PIXELS:
            raise InvalidField(
                "scale", f"{scale} makes {size[0]} x {size[1]} pixels, above 2^24; send less"
            )
        enlarged = image.resize(size, Image.Resampling.NEAREST)
        text: dict[str, str] = {**getattr(image, "text", {}), "scale": str(scale)}
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_text(key, value) if value.isascii() else chunks.add_itxt(key, value)
    buffer = io.BytesIO()
    enlarged.save(buffer, format="PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()


def _shrink(width: int, height: int, *, most: float) -> int:
    """What to divide both sides by for ``most`` pixels; undoes an enlargement where it can."""
    least = max(1, math.ceil(math.sqrt(width * height / most)))
    whole = (n for n in range(least, 2 * least + 1) if width % n == 0 == height % n)
    return next(whole, min(least, width, height))


def images_zip(pngs: list[bytes]) -> bytes:
    """PNGs as `00.png`, `01.png`, ... in one archive, stored as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, data in enumerate(pngs):
            archive.writestr(zipfile.ZipInfo(f"{index:02}.png", _EPOCH), data)
    return buffer.getvalue()
