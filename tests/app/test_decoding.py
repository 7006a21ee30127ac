"""Pictures that clients send: seen as training sees its data, or refused in words."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.decoding import MOST_PIXELS, BadPicture, check, fit, fit_mask, has_holes, look
from training.pictures.decode import decode

SIZE = (12, 8)  # height, width
_ORIENTATION = 0x0112


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of changing colours and, where there is alpha, of changing transparency."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    bands = [(rows * 5 + columns * k) % 256 for k in (1, 3, 7, 11)]
    if mode == "I;16":
        return Image.fromarray((bands[0] * 257 + columns).astype(np.uint16))
    count = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    levels = np.stack(bands[:count], axis=2).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if count == 1 else levels, mode)


def palette() -> bytes:
    """Three colours, one of them transparent."""
    image = picture("L").point(lambda level: level // 100).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return file(image, transparency=1)


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return file(picture(), "JPEG", exif=exif)


FILES = {
    **{mode: file(picture(mode)) for mode in ("L", "LA", "RGB", "RGBA", "I;16")},
    "palette": palette(),
    "one bit": file(picture("L").convert("1")),
    "cmyk": file(picture("CMYK"), "JPEG"),
    "jpeg": file(picture(), "JPEG"),
    "webp": file(picture("RGBA"), "WEBP", lossless=True),
    "wide": file(picture(size=(400, 3))),
    "high": file(picture(size=(1, 90))),
    **{f"orientation {n}": rotated(n) for n in (3, 6, 8)},
}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", FILES)
def test_a_picture_is_seen_as_training_sees_it(name: str, channels: int) -> None:
    data = FILES[name]
    fitted = fit(data, width=SIZE[1], height=SIZE[0], channels=channels)
    seen = np.atleast_3d(np.asarray(Image.open(io.BytesIO(fitted.png)))).transpose(2, 0, 1)
    assert np.array_equal(seen, decode(data, size=SIZE, channels=channels, resize="crop"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_s_size_is_that_of_the_upright_one(orientation: int) -> None:
    facts = look(rotated(orientation))
    assert (facts.width, facts.height) == ((30, 40) if orientation >= 5 else (40, 30))


def test_the_same_pixels_have_the_same_digest_whatever_the_file() -> None:
    image = picture("L", (8, 12))
    fitted = [
        fit(file(one, level), width=8, height=12, channels=1)
        for one, level in ((image, "PNG"), (image.convert("RGB"), "PNG"))
    ]
    assert fitted[0].sha256 == fitted[1].sha256
    enlarged = image.resize((80, 120), Image.Resampling.NEAREST)
    assert fit(file(enlarged), width=8, height=12, channels=1) == fitted[0]


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is that large, and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    return file(picture(), kind, save_all=True, append_images=[picture("RGB").rotate(180)])


def inflated_text() -> bytes:
    """A PNG whose text is a thousand times as long as the file."""
    whole = file(picture())
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 200_000_000, 1))
    return whole[:33] + text + whole[33:]


BAD = {
    "empty": (b"", "no PNG, JPEG or WebP"),
    "a page": (b"<html>hello</html>", "no PNG, JPEG or WebP"),
    "a GIF": (file(picture(), "GIF"), "no PNG, JPEG or WebP"),
    "cut off": (file(picture("L", (200, 200)), compress_level=0)[:9000], "cannot be decoded"),
    "a cut off JPEG": (file(picture(size=(400, 400)), "JPEG")[:2000], "cannot be decoded"),
    "a head": (file(picture())[:33], "no PNG, JPEG or WebP"),
    "an animated PNG": (animated("PNG"), "animated"),
    "an animated WebP": (animated("WEBP"), "animated"),
    "huge": (bomb(100_000, 100_000), "more than 16,000,000 pixels"),
    "wide": (bomb(2**31 - 1, 1), "more than 16,000,000 pixels"),
    "a little too large": (bomb(4001, 4000), "4001x4000 are more than 16,000,000 pixels"),
    "a hollow one": (bomb(4000, 4000), "cannot be decoded"),
    "no size": (bomb(0, 10), "no PNG, JPEG or WebP"),
    "inflated text": (inflated_text(), "cannot be decoded"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_words(name: str) -> None:
    data, says = BAD[name]
    with pytest.raises(BadPicture, match=says):
        fit(data, width=8, height=8, channels=1)
    with pytest.raises(BadPicture, match=says):
        check(data)
    with pytest.raises(BadPicture, match=says):
        fit_mask(data, width=8, height=8)


def test_the_largest_picture_is_taken() -> None:
    data = file(Image.new("1", (16_000, 1000)), compress_level=1)
    assert len(data) * 200 < MOST_PIXELS, "it holds more than 200 times what is sent"
    assert check(data).width == 16_000


def test_white_and_transparent_places_of_a_mask_are_drawn_anew() -> None:
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 255), (0, 0, 4, 4))
    mask.putpixel((7, 7), (0, 0, 0, 0))
    assert has_holes(file(mask))
    fitted = fit_mask(file(mask), width=8, height=8)
    assert fitted is not None
    seen = np.asarray(Image.open(io.BytesIO(fitted.png)))
    assert (seen[:4, :4] == 255).all()
    assert seen[7, 7] == 255
    assert seen.astype(bool).sum() == 17
    as_openai_has_it = fit_mask(file(mask), width=8, height=8, of_alpha=True)
    assert as_openai_has_it is not None
    seen = np.asarray(Image.open(io.BytesIO(as_openai_has_it.png)))
    assert list(zip(*seen.nonzero(), strict=True)) == [(7, 7)]


def test_a_mask_that_keeps_all_is_refused_and_one_that_keeps_nothing_is_none() -> None:
    with pytest.raises(BadPicture, match="nothing is left to draw"):
        fit_mask(file(Image.new("L", (8, 8), 0)), width=8, height=8)
    with pytest.raises(BadPicture, match="nothing is left to draw"):
        fit_mask(file(picture("RGB")), width=8, height=8, of_alpha=True)
    assert fit_mask(file(Image.new("L", (20, 20), 255)), width=8, height=8) is None
    assert not has_holes(file(picture("RGB")))


def test_a_model_of_other_channels_takes_no_file() -> None:
    with pytest.raises(BadPicture, match="2 channels"):
        fit(FILES["RGB"], width=8, height=8, channels=2)
