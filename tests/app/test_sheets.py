"""Grids: near-square, on white, and never larger than memory allows."""

import io

import numpy as np
from PIL import Image

from app.sheets import grid_png


def picture(level: int, side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (level, 9, 9)).save(file, "PNG")
    return file.getvalue()


def test_pictures_lie_in_rows_on_white() -> None:
    with Image.open(io.BytesIO(grid_png([picture(n, 8) for n in range(5)]))) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (18, 28, 3)
    assert [int(pixels[y, x, 0]) for y, x in ((0, 0), (0, 10), (0, 20), (10, 0), (10, 10))] == [
        *range(5)
    ]
    assert (pixels[10:, 20:] == 255).all()
    assert (pixels[8:10] == 255).all()


def test_many_large_pictures_are_shrunk_by_a_whole_number() -> None:
    small = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(small.repeat(16, 0).repeat(16, 1)).save(file, "PNG")
    with Image.open(io.BytesIO(grid_png([file.getvalue()] * 64))) as sheet:
        assert sheet.size == (8 * 514 - 2, 8 * 514 - 2)
        assert np.array_equal(np.asarray(sheet)[:512, :512], small.repeat(8, 0).repeat(8, 1))
