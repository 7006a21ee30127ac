"""`data check`: what training would see is counted, compared, named and shown."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data import write_idx
from tests.training.pictures.test_sources import load, png, write
from training.__main__ import main
from training.errors import TrainingError
from training.pictures.labels import Naming
from training.pictures.mixture import Asked
from training.survey.duplicates import nearly_same
from training.survey.look import Survey, survey
from training.survey.words import oddities, sentences, to_json


def scene(seed: int, *, size: int = 64, kind: str = "PNG", quality: int = 90) -> bytes:
    """Smooth random patches, which have a perceptual hash worth the name."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    image = small.resize((96, 96), Image.Resampling.BICUBIC).resize((size, size))
    image.save(file, kind, quality=quality)
    return file.getvalue()


def check(path: Path, **changes: object) -> Survey:
    settings: dict[str, object] = {"naming": Naming(), "hold_out": 0.1, **changes}
    return survey([Asked(path)], **settings)  # type: ignore[arg-type]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    files = {f"cat/{i}.png": scene(i) for i in range(12)}
    files |= {f"dog/{i}.png": scene(100 + i) for i in range(30)}
    files["cat/copy.png"] = files["cat/0.png"]
    files["dog/also a cat.png"] = files["cat/0.png"]
    files["dog/smaller.png"] = scene(101, size=48)
    files["dog/again.jpg"] = scene(102, kind="JPEG")
    files["cat/login.jpg"] = b"<html>Please log in</html>"
    files["cat/empty.png"] = b""
    files["notes.txt"] = b"?"
    return write(tmp_path, files)


def test_the_page_and_the_words_say_what_training_would_see(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["data", "check", str(pets), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    data = load(pets, hold_out=0.1, size=(8, 8), channels=3)
    assert f"{len(data)} to train on" in said
    for part in (
        "46 pictures",
        "10% held out by hash",
        "height 48 to 64 (median 64)",
        "2 classes:",
        "2 files are rejected:",
        "cat/login.jpg: it is HTML or SVG, not pixels; was it fetched",
        "cat/empty.png: the file is empty",
        "2 pictures are the same, byte for byte, as others, for example cat/0.png, cat/copy.png",
        "4 pictures are the same or nearly",
        "1 pictures are in two classes, for example cat/copy.png and dog/also a cat.png",
        "1 classes have fewer than 20 pictures to train on, for example 'cat'",
        "1 files have no picture's suffix",
    ):
        assert part in said
    page = (out / "index.html").read_text()
    assert page.count("<img") == 3  # the sheet, the same, the nearly same
    assert "cat/login.jpg" in page
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.size == (16 * 76 - 4, 2 * 76 - 4)


def test_counts_are_those_that_training_finds(pets: Path) -> None:
    found = check(pets)
    for split in ("train", "test"):
        data = load(pets, split=split, hold_out=0.1, size=(8, 8), channels=3)
        assert sum(one.split == split for one in found.seen) == len(data)
        counts = np.bincount(data.labels, minlength=2).tolist()
        assert [one[split] for one in to_json(found)["classes"].values()] == counts
    assert found.classes == ("cat", "dog")


def test_pictures_that_hardly_differ_are_found_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 500, dtype=np.uint64)
    near = hashes[7] ^ np.uint64(1 << 3 | 1 << 20 | 1 << 40)  # three bits, in three bands
    linked = near ^ np.uint64(1 << 60 | 1 << 61)
    far = hashes[9] ^ np.uint64(0b1111)
    all_of_them = np.concatenate([hashes, np.array([near, linked, far], dtype=np.uint64)])
    assert nearly_same(all_of_them) == [[7, 500, 501]]


def test_any_number_of_pictures_may_be_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = np.zeros(5000, dtype=np.uint64)
    assert [len(group) for group in nearly_same(blank)] == [5000]
    # All agree in two bands; the two that are near differ in the others.
    apart = np.arange(0, 3000 * 16, 16, dtype=np.uint64) * np.uint64(0x11111)
    pair = apart[[2999]] ^ np.uint64(1 << 16 | 1)
    monkeypatch.setattr("training.survey.duplicates._COMPARED", 1 << 16)
    (group,) = (g for g in nearly_same(np.concatenate([apart, pair])) if 3000 in g)
    assert 2999 in group


def test_near_duplicates_are_left_out_and_said_so_without_their_package(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    found = check(pets)
    assert found.nearly is None
    assert found.remarks == ["near duplicates were not looked for: pip install 'emaki[check]'"]
    assert len(found.same) == 1


def test_captions_are_counted(tmp_path: Path) -> None:
    lines = [{"file_name": f"{i}.png", "text": "x" * (i + 1)} for i in range(3)]
    files = {f"{i}.png": png(i) for i in range(4)}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    path = write(tmp_path, files)
    found = check(path)
    assert found.captions == ["x", "xx", "xxx", ""]
    assert "captions of 1 to 3 (median 2) characters, 3 different; 1 pictures have none" in (
        sentences(found)
    )


@pytest.mark.parametrize("text", [None, ["a", "b"], "x" * 2500])
def test_a_field_that_is_no_caption_is_one_like_others(tmp_path: Path, text: object) -> None:
    lines = [{"file_name": f"{i}.png", "text": text, "label": "cat"} for i in range(4)]
    files = {f"{i}.png": png(i) for i in range(4)}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    path = write(tmp_path, files)
    assert not any(check(path).captions)
    with pytest.raises(TrainingError, match="caption"):
        check(path, caption="{text}")


def test_captions_are_held_out_as_training_does(tmp_path: Path) -> None:
    lines = [{"file_name": f"{i}.png", "text": f"kind {i % 7}"} for i in range(39)]
    files = {f"{i}.png": png(i) for i in range(40)}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    path = write(tmp_path, files)
    found = check(path, caption="a {text}", hold_out=0.5)
    assert [name for name, _ in found.rejected] == ["39.png"]
    for split in ("train", "test"):
        data = load(path, split=split, hold_out=0.5, caption="a {text}")
        assert sum(one.split == split for one in found.seen) == len(data)


def test_what_training_refuses_is_said(tmp_path: Path) -> None:
    files = {f"cat/{i}.png": png(i) for i in range(3)} | {"dog/1.png": b""}
    path = write(tmp_path, files)
    said = oddities(check(path))
    assert "training refuses these: 1 of 4 files cannot be used, more than 20%" in said
    assert "training refuses these: the class 'dog' has no picture that can be used" in said
    with pytest.raises(TrainingError):
        load(path)


def test_everything_is_json_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_idx(tmp_path / "data", train=60, test=20)
    out = str(tmp_path / "out")
    assert main(["data", "check", str(path), "--json", "--no-near", "--out", out]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["splits"] == {"train": 60, "test": 20}
    assert found["nearly_same"] is None
    assert found["height"] == {"least": 8, "median": 8, "most": 8}
    assert set(found["classes"]) == {"0", "1", "2"}


def test_mixed_modes_and_pictures_on_both_sides_are_remarked(tmp_path: Path) -> None:
    grey, colour = png(1), scene(1)
    path = write(tmp_path, {"train/a/1.png": grey, "train/a/2.png": colour, "test/a/3.png": grey})
    said = " ".join(oddities(check(path)))
    assert "grey and colour are mixed" in said
    assert "1 pictures are in both splits, for example train/a/1.png" in said


def test_nothing_readable_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {"1.png": b"", "2.png": b""})
    assert main(["data", "check", str(path), "--out", str(tmp_path)]) == 2
    assert "no picture can be read" in capsys.readouterr().err
