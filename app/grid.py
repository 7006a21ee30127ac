"""All images of a generation in one PNG."""

import io
import math

from PIL import Image

_GAP = 2


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
