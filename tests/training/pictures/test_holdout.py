"""Data without a test split: some pictures are kept out of training, and always the same ones."""

import dataclasses
import json
from pathlib import Path

import pytest

from models.checkpoint import latest_step, read_manifest
from tests.training.data import CONFIG, idx_bytes, pictures, write_idx
from tests.training.pictures.test_sources import load, png, write
from training.__main__ import main
from training.errors import TrainingError
from training.pictures.data import Pictures, load_alike

SOME = {f"{'cat' if i % 2 else 'dog'}/{i}.png": png(i) for i in range(200)}


def grey_levels(data: Pictures) -> list[int]:
    return [int(image[0, 0, 0]) for image in data.images]


@pytest.mark.parametrize("zipped", [False, True])
def test_every_picture_is_in_one_of_the_two_splits(tmp_path: Path, zipped: bool) -> None:
    path = write(tmp_path, SOME, zipped=zipped)
    train, test = (load(path, split=split, hold_out=0.2) for split in ("train", "test"))
    assert sorted(grey_levels(train) + grey_levels(test)) == list(range(200))
    assert 20 < len(test) < 60
    assert (train.classes, train.held_out, test.held_out) == (("cat", "dog"), 0.2, 0.2)
    for data in (train, test):
        levels = zip(grey_levels(data), data.labels, strict=True)
        assert all((level % 2 == 0) == label for level, label in levels)


def test_a_picture_s_split_does_not_depend_on_its_name_or_on_the_others(tmp_path: Path) -> None:
    before = load(write(tmp_path / "a", SOME), split="test", hold_out=0.2)
    renamed = {f"{'cat' if i % 2 else 'dog'}/new-{250 - i}.png": png(i) for i in range(250)}
    after = load(write(tmp_path / "b", renamed), split="test", hold_out=0.2)
    assert set(grey_levels(before)) == {level for level in grey_levels(after) if level < 200}


def test_the_same_picture_twice_is_not_on_both_sides(tmp_path: Path) -> None:
    twice = SOME | {name.replace(".", "-again."): data for name, data in SOME.items()}
    path = write(tmp_path, twice)
    train, test = (load(path, split=split, hold_out=0.2) for split in ("train", "test"))
    assert len(train) + len(test) == 400
    assert not set(grey_levels(train)) & set(grey_levels(test))


def test_captions_with_half_a_character_are_held_out_like_others(tmp_path: Path) -> None:
    lines = [{"file_name": f"{i}.png", "text": f"smile \ud83d {i}"} for i in range(20)]
    files = {f"{i}.png": png(i) for i in range(20)}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    path = write(tmp_path, files)
    parts = [load(path, split=split, hold_out=0.3, caption="{text}") for split in ("train", "test")]
    assert [len(part) > 0 for part in parts] == [True, True]
    assert sum(map(len, parts)) == 20


def test_data_with_a_test_split_is_trained_on_whole(tmp_path: Path) -> None:
    files = {f"train/{name}": data for name, data in SOME.items()} | {"test/cat/x.png": png(201)}
    train = load(write(tmp_path, files), hold_out=0.2)
    assert (len(train), train.held_out) == (200, 0)


def test_no_class_is_held_out_whole(tmp_path: Path) -> None:
    one_each = {f"{i}/only.png": png(i) for i in range(200)}
    train = load(write(tmp_path, one_each), hold_out=0.5)
    assert len(train) == 200
    with pytest.raises(TrainingError, match="of 200 pictures none is held out at a share of 0.5"):
        load(tmp_path / "pictures", split="test", hold_out=0.5)


def test_idx_files_without_test_files_are_held_out_from_too(tmp_path: Path) -> None:
    images, labels = pictures(200, seed=0)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    both = [load(tmp_path, split=s, size=(8, 8), hold_out=0.2) for s in ("train", "test")]
    assert sum(map(len, both)) == 200
    assert 20 < len(both[1]) < 60


@pytest.fixture
def old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run's first step on all of some pictures, as before there was a hold-out; to go on."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, SOME)
    names = '["Circle", "Square", "Cross"]'
    Path("shapes.toml").write_text(CONFIG.replace(names, "[]"))
    command = ["train", "shapes.toml", "--data", "pictures", "--set", "train.steps=2"]
    assert main([*command, "--set", "data.hold_out=0", "--until", "1"]) == 0
    return [*command, "--resume"]


def test_an_old_run_is_refused_with_what_to_do_and_goes_on_so(
    old_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(old_run) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "was trained on other data (it held out a share of 0, now 0.1: keep it with" in said
    assert main([*old_run, "--set", "data.hold_out=0"]) == 0
    assert latest_step(Path("checkpoints/shapes")) == 2


@pytest.mark.usefixtures("old_run")
def test_a_model_that_has_seen_every_picture_is_not_judged_by_any_of_them() -> None:
    manifest = read_manifest(Path("checkpoints/shapes/0000001"))
    with pytest.raises(TrainingError, match="no test pictures, and none were held out"):
        load_alike(Path("pictures"), manifest, split="test")
    held_out = {**manifest.training["data"], "held_out": 0.1}
    later = dataclasses.replace(manifest, training={**manifest.training, "data": held_out})
    assert len(load_alike(Path("pictures"), later, split="test")) > 0


def test_data_with_test_files_keeps_its_fingerprint(tmp_path: Path) -> None:
    path = write_idx(tmp_path)
    first, second = (load(path, size=(8, 8), hold_out=share) for share in (0, 0.1))
    assert first.fingerprint == second.fingerprint
