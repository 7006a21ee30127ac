"""PNG bytes depend on what the picture is, and say so."""

import io

import numpy as np
import pytest
from PIL import Image

from wire.schemas import ResolvedRequest
from worker.render import png, strip_png


def request(**changes: object) -> ResolvedRequest:
    fields: dict[str, object] = {
        "model": "tiny@0000001",
        "seed": 7,
        "steps": 20,
        "batch": 2,
        "classes": [0, None],
        "class_names": ["Ankle boot", None],
        "guidance_scale": 1.5,
        "sampler": "dpmpp_2m",
        "eta": 0.0,
        "scale": 1,
    }
    return ResolvedRequest.model_validate({**fields, **changes})


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("scale", [1, 3])
def test_pixels_survive_and_enlarge_without_smoothing(channels: int, mode: str, scale: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(pixels, request(scale=scale).picture(0))))
    assert (image.mode, image.size) == (mode, (6 * scale, 4 * scale))
    back = np.asarray(image).reshape(4 * scale, 6 * scale, channels)
    assert np.array_equal(back[::scale, ::scale], pixels)
    assert np.array_equal(back, pixels.repeat(scale, 0).repeat(scale, 1))


def test_text_chunks_name_what_was_drawn() -> None:
    pixels = np.zeros((4, 4, 1), np.uint8)
    text = Image.open(io.BytesIO(png(pixels, request(class_names=["Ärmel", None]).picture(1)))).text  # type: ignore[attr-defined]
    assert text["model"] == "tiny@0000001"
    assert text["seed"] == "8"
    assert text["class"] == ""
    first = Image.open(io.BytesIO(png(pixels, request(class_names=["Ärmel", None]).picture(0))))
    assert first.text["class"] == "Ärmel"  # type: ignore[attr-defined]


def test_a_strip_says_what_its_rows_are() -> None:
    frames = (np.zeros((4, 4, 1), np.uint8),) * 3
    told = request(scale=2, prompts=[], class_names=["Ärmel", None])
    image = Image.open(io.BytesIO(strip_png([frames, frames], told.pictures)))
    assert image.size == ((3 * 6 - 2) * 2, (2 * 6 - 2) * 2)
    text = image.text  # type: ignore[attr-defined]
    assert (text["seed"], text["class"], text["steps"]) == ("7, 8", "Ärmel, ", "20")
    assert (text["Software"], text["scale"]) == ("Emaki", "2")


def test_bytes_do_not_depend_on_the_batch() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    as_second = png(pixels, request(classes=[1, 0], class_names=["Bag", "Coat"]).picture(1))
    alone = png(pixels, request(seed=8, batch=1, classes=[0], class_names=["Coat"]).picture(0))
    assert as_second == alone
