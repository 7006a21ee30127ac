"""All images of a generation in one file: a grid, or an archive. Pure: bytes in, bytes out."""

import io
import math
import zipfile

from PIL import Image

_GAP = 2
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same pictures make the same archive


def grid_png(pngs: list[bytes]) -> bytes:
    """Lay equally large PNGs out in a near-square grid on white; one is returned as it is."""
    if len(pngs) == 1:
        return pngs[0]
    images = [Image.open(io.BytesIO(data)) for data in pngs]
    width, height = images[0].size
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    white = 255 if images[0].mode == "L" else (255,) * len(images[0].getbands())
    sheet = Image.new(images[0].mode, size, white)
    for i, image in enumerate(images):
        sheet.paste(image, ((i % columns) * (width + _GAP), (i // columns) * (height + _GAP)))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def images_zip(pngs: list[bytes]) -> bytes:
    """PNGs as `00.png`, `01.png`, ... in one archive, stored as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, data in enumerate(pngs):
            archive.writestr(zipfile.ZipInfo(f"{index:02}.png", _EPOCH), data)
    return buffer.getvalue()
