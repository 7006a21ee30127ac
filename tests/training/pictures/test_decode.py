"""One picture at a time: every mode of Pillow's, orientations, sizes, and files that are traps."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from training.pictures.decode import Resize, Unreadable, decode, to_array

# An orange whose channels differ, so that a swapped or lost channel shows.
ORANGE = (240, 120, 30)
GREY = 146  # 0.299 R + 0.587 G + 0.114 B


def one(image: Image.Image, channels: int = 3, resize: Resize = "crop") -> list[int]:
    """The pixel at the centre after decoding to 4x4."""
    pixels = to_array(image, size=(4, 4), channels=channels, resize=resize)
    assert pixels.shape == (channels, 4, 4)
    return [int(value) for value in pixels[:, 2, 2]]


def to_lab(rgb: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    assert lab is not None
    return lab


def flat(mode: str) -> Image.Image:
    """A 4x4 picture of the orange in a mode, or of its grey."""
    rgb = Image.new("RGB", (4, 4), ORANGE)
    special = {
        "I;16": lambda: Image.fromarray(np.full((4, 4), GREY * 257, np.uint16)),
        "I;16B": lambda: Image.frombytes("I;16B", (4, 4), struct.pack(">H", GREY * 257) * 16),
        "I": lambda: Image.fromarray(np.full((4, 4), GREY * 257, np.int32)),
        "F": lambda: Image.fromarray(np.full((4, 4), GREY + 0.2, np.float32)),
        "LAB": lambda: to_lab(rgb),
        "La": lambda: Image.new("LA", (4, 4), (GREY, 255)).convert("La"),
        "RGBa": lambda: rgb.convert("RGBA").convert("RGBa"),
        "PA": lambda: rgb.quantize(4).convert("PA"),
        "P": lambda: rgb.quantize(4),
        "1": lambda: Image.new("1", (4, 4), 1),
    }
    return special[mode]() if mode in special else rgb.convert(mode)


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "P", "PA"]
)
def test_every_colour_mode_becomes_the_same_colour(mode: str) -> None:
    assert one(flat(mode)) == pytest.approx(ORANGE, abs=4)
    assert one(flat(mode), channels=1) == pytest.approx([GREY], abs=3)
    assert one(flat(mode), channels=4) == pytest.approx([*ORANGE, 255], abs=4)


@pytest.mark.parametrize("mode", ["L", "LA", "La", "I;16", "I;16B", "I", "F"])
def test_every_grey_mode_becomes_the_same_grey(mode: str) -> None:
    assert one(flat(mode), channels=1) == pytest.approx([GREY], abs=1)
    assert one(flat(mode)) == pytest.approx([GREY] * 3, abs=1)


def test_bits_are_black_and_white() -> None:
    assert one(flat("1"), channels=1) == [255]
    assert one(Image.new("1", (4, 4), 0), channels=1) == [0]


def test_what_is_transparent_shows_white_unless_there_is_an_alpha_channel() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert one(clear) == [255, 255, 255]
    assert one(clear, channels=1) == [255]
    assert one(clear, channels=4) == [10, 20, 30, 0]
    half = Image.new("LA", (4, 4), (0, 128))
    assert one(half, channels=1) == pytest.approx([127], abs=1)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    palette.info["transparency"] = 0
    assert one(palette) == [255, 255, 255]


def test_the_camera_s_orientation_is_undone() -> None:
    upright = Image.new("RGB", (4, 4), "black")
    upright.paste((255, 0, 0), (0, 0, 4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    file = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    pixels = decode(file.getvalue(), size=(4, 4), channels=3, resize="crop")
    assert np.array_equal(pixels, to_array(upright, size=(4, 4), channels=3, resize="crop"))


def test_crop_cuts_the_middle_out_and_squash_keeps_everything() -> None:
    wide = Image.new("RGB", (24, 8), "black")
    wide.paste((255, 255, 255), (8, 0, 16, 8))  # black, white, black
    cropped = to_array(wide, size=(8, 8), channels=1, resize="crop")
    assert cropped.min() == 255
    squashed = to_array(wide, size=(8, 24), channels=1, resize="squash")
    assert squashed[0, 4].tolist() == [0] * 8 + [255] * 8 + [0] * 8
    small = to_array(wide, size=(8, 6), channels=1, resize="squash")
    assert (small[0, 4, 0], small[0, 4, 3] > 200, small[0, 4, 5]) == (0, True, 0)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    out = to_array(Image.fromarray(pixels), size=(6, 9), channels=3, resize="crop")
    assert np.array_equal(out, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_common_formats_are_read(suffix: str) -> None:
    feature = {"WEBP": "webp", "JPEG2000": "jpg_2000"}.get(suffix)
    if feature and not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    file = io.BytesIO()
    Image.new("RGB", (16, 16), ORANGE).save(file, suffix)
    pixels = decode(file.getvalue(), size=(4, 4), channels=3, resize="crop")
    assert pixels[:, 1, 1].tolist() == pytest.approx(ORANGE, abs=8)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"no picture at all", "it is no picture that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no picture that is read"),
        (b"\n<!doctype html><p>Please log in", "it is HTML or SVG, not pixels"),
        (b"%PDF-1.7", "it is a PDF"),
        (b"\0\0\0\x18ftypheic", "it is HEIC"),
        (bomb(8000, 8001), "64 million pixels"),
        (bomb(60000, 60000), "over 64 million pixels"),
        (bomb(64, 64), "truncated"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(data: bytes, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(Unreadable, match=message):
            decode(data, size=(4, 4), channels=3, resize="crop")
