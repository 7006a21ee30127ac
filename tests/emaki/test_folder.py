"""A folder that pictures are drawn into goes on, whatever was asked for."""

import io
from pathlib import Path

import pytest
from PIL import Image

from emaki.errors import CannotDraw
from emaki.folder import Folder
from emaki.pictures import Picture

PROMPT = "rocket\u2028to the\u0085moon"


def picture(seed: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    return Picture(file.getvalue(), {"model": "words@0000001", "prompt": PROMPT, "seed": seed})


def folder(path: Path, n: int) -> Folder:
    return Folder(path, {"model": "words", "prompt": PROMPT, "seed": 1}, n)


def test_a_prompt_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    folder(tmp_path / "many", 2).add(range(1), [picture(1)])
    again = folder(tmp_path / "many", 2)
    assert list(again.parts()) == [range(1, 2)]
    again.add(range(1, 2), [picture(2)])
    assert folder(tmp_path / "many", 2).kept == 2


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"file_name": "x.png"}'])
def test_lines_of_something_else_are_refused(tmp_path: Path, line: str) -> None:
    folder(tmp_path / "many", 2).add(range(1), [picture(1)])
    (tmp_path / "many" / "x.png").touch()
    with (tmp_path / "many" / "metadata.jsonl").open("a") as lines:
        lines.write(f"{line}\n")
    with pytest.raises(CannotDraw, match="not as it was written"):
        folder(tmp_path / "many", 2)
