"""What a person asks for in Python, as the API's fields."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from emaki.asked import batches, fields_of
from emaki.errors import CannotDraw


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), 7).save(buffer, "PNG")
    return buffer.getvalue()


def test_fields_pass_through_by_their_names_whatever_they_are() -> None:
    asked = fields_of("Bag", None, {"seed": 1, "some_new_field": [1, 2]})
    assert asked == {"seed": 1, "some_new_field": [1, 2], "class": "Bag"}
    assert fields_of(None, None, {"class_": 3}) == {"class": 3}
    with pytest.raises(CannotDraw, match="say it twice"):
        fields_of("Bag", None, {"class_": "Coat"})


def test_pictures_are_sent_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    image = Image.open(io.BytesIO(png()))
    for value in (tmp_path / "a.png", png(), image):
        sent = fields_of(None, None, {"init_image": value})["init_image"]
        kind, _, data = sent.partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).getpixel((0, 0)) == 7
    with pytest.raises(CannotDraw, match="PNG, JPEG or WebP"):
        fields_of(None, None, {"mask": b"GIF89a"})


def test_many_pictures_are_several_requests_with_consecutive_seeds() -> None:
    classes = [f"c{i}" for i in range(130)]
    parts = list(batches({"seed": 5, "class": classes, "guidance_interval": [0, 1]}, 130))
    assert [(part["seed"], part["batch"]) for part in parts] == [(5, 64), (69, 64), (133, 2)]
    assert [name for part in parts for name in part["class"]] == classes
    assert all(part["guidance_interval"] == [0, 1] for part in parts)
    chosen = [part["seed"] for part in batches({}, 65)]
    assert chosen[1] == chosen[0] + 64
    mixed = list(batches({"seed": 1, "variation_seed": 5, "variation_strength": 0.3}, 100))
    assert [(part["seed"], part["variation_seed"]) for part in mixed] == [(1, 5), (65, 69)]
    chosen = [part["variation_seed"] for part in batches({"variation_strength": 0.3}, 65)]
    assert chosen[1] == chosen[0] + 64
    with pytest.raises(CannotDraw, match="variation_seed, 9223372036854775808, is above"):
        list(batches({"seed": 1, "variation_seed": 2**63 - 64}, 65))
    with pytest.raises(CannotDraw, match="2 entries for 3 pictures"):
        list(batches({"prompt": ["a", "b"]}, 3))
