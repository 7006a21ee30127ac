"""Folders, zips, EDM's `dataset.json`, splits; and what is said when something is wrong."""

import errno
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.errors import TrainingError
from training.pictures.cache import cache_folder
from training.pictures.data import Pictures, load_pictures
from training.pictures.mixture import Asked


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes], *, zipped: bool = False) -> Path:
    """These files in a folder, or in a zip; a name that ends in "/" is an empty folder."""
    if zipped:
        path = root / "pictures.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        path = root / "pictures" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(data)
    return root / "pictures"


def load(path: Path | list[Asked], **changes: object) -> Pictures:
    arguments: dict[str, object] = {"size": (4, 4), "channels": 1, "quiet": True, "hold_out": 0}
    arguments |= changes
    return load_pictures(path, **arguments)  # type: ignore[arg-type]


def levels(data: Pictures) -> list[tuple[int, str]]:
    """Each picture's grey level and class."""
    names = data.classes or ("-",)
    return [
        (int(image[0, 0, 0]), names[label])
        for image, label in zip(data.images, data.labels, strict=True)
    ]


CATS_AND_DOGS = {"cat/1.png": png(1), "cat/more/2.PNG": png(2), "dog/3.png": png(3)}
EXPECTED = [(1, "cat"), (2, "cat"), (3, "dog")]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("wrapper", ["", "pets/", "some/pets/"])
def test_outermost_folders_are_classes(tmp_path: Path, zipped: bool, wrapper: str) -> None:
    noise = {"__MACOSX/._1.png": b"?", ".hidden/4.png": b"?", "read me.txt": b"about cats"}
    files = {f"{wrapper}{name}": data for name, data in CATS_AND_DOGS.items()}
    if not zipped:
        noise.pop("__MACOSX/._1.png")
    assert levels(load(write(tmp_path, files | noise, zipped=zipped))) == EXPECTED


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_in_no_folder_have_no_class(tmp_path: Path, zipped: bool) -> None:
    data = load(write(tmp_path, {"a.png": png(5), "b.png": png(6)}, zipped=zipped))
    assert levels(data) == [(5, "-"), (6, "-")]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("labels", ["given", "null"])
def test_edm_s_dataset_json_gives_labels(tmp_path: Path, zipped: bool, labels: str) -> None:
    table = [["00000/img1.png", 1], ["00000/img0.png", 0]] if labels == "given" else None
    files = {
        "00000/img0.png": png(7),
        "00000/img1.png": png(8),
        "dataset.json": json.dumps({"labels": table}).encode(),
    }
    data = load(write(tmp_path, files, zipped=zipped))
    expected = [(7, "0"), (8, "1")] if table else [(7, "-"), (8, "-")]
    assert levels(data) == expected


def test_class_names_choose_the_order_of_folders(tmp_path: Path) -> None:
    data = load(write(tmp_path, CATS_AND_DOGS), class_names=("dog", "cat"))
    assert data.classes == ("dog", "cat")
    assert levels(data) == EXPECTED


def test_a_split_is_a_folder_or_a_sibling(tmp_path: Path) -> None:
    both = write(tmp_path, {"train/cat/1.png": png(1), "test/cat/2.png": png(2)})
    assert levels(load(both)) == [(1, "cat")]
    assert levels(load(both, split="test")) == [(2, "cat")]
    for split, level in (("train", 3), ("test", 4)):
        with zipfile.ZipFile(tmp_path / f"pets-{split}.zip", "w") as archive:
            archive.writestr("cat/1.png", png(level))
    assert levels(load(tmp_path / "pets-train.zip", split="test")) == [(4, "cat")]
    with pytest.raises(TrainingError, match="no test pictures, and none were held out: put some"):
        load(write(tmp_path / "x", CATS_AND_DOGS), split="test")


@pytest.mark.parametrize("name", ["val", "valid", "Test", "validation"])
def test_a_validation_folder_serves_as_the_test_split(tmp_path: Path, name: str) -> None:
    both = write(tmp_path, {"Train/cat/1.png": png(1), f"{name}/cat/2.png": png(2)})
    assert levels(load(both)) == [(1, "cat")]
    assert levels(load(both, split="test")) == [(2, "cat")]


def test_class_folders_may_be_links_but_not_to_where_they_lie(tmp_path: Path) -> None:
    path = write(tmp_path, {"cat/1.png": png(1)})
    (write(tmp_path / "elsewhere", {"2.png": png(2)})).rename(tmp_path / "dogs")
    (path / "dog").symlink_to(tmp_path / "dogs")
    (path / "cat" / "again").symlink_to(path)
    assert levels(load(path)) == [(1, "cat"), (2, "dog")]
    (path / "cat" / "other").symlink_to("../dog")
    (tmp_path / "dogs" / "other").symlink_to(path / "cat")
    assert levels(load(path)) == [(1, "cat"), (2, "cat"), (2, "dog"), (1, "dog")]


def test_a_dataset_json_beside_a_single_folder_is_seen(tmp_path: Path) -> None:
    labels = json.dumps({"labels": [["images/0/a.png", 1], ["images/0/b.png", 0]]}).encode()
    files = {"images/0/a.png": png(1), "images/0/b.png": png(2), "dataset.json": labels}
    assert levels(load(write(tmp_path, files))) == [(1, "1"), (2, "0")]


def test_files_without_a_picture_s_suffix_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = CATS_AND_DOGS | {"cat/4.heic": b"?", "cat/5": b"?", "dog/6.jfif": png(6)}
    assert len(load(write(tmp_path, files), quiet=False)) == 4
    said = capsys.readouterr().err
    assert "have one picture each" not in said
    assert "2 files in" in said
    assert "no picture's suffix and are passed over, for example cat/4.heic" in said


def test_a_disk_without_room_for_the_pictures_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(TrainingError, match="No space left on device; free some space, or set"):
        load(write(tmp_path, CATS_AND_DOGS), size=(7, 7))
    assert not list((cache_folder() / "pictures").glob(".*"))


def test_decoded_once_and_mapped_from_disk_after(tmp_path: Path) -> None:
    path = write(tmp_path, CATS_AND_DOGS)
    first = load(path)
    assert isinstance(first.images, np.memmap)
    entries = sorted((cache_folder() / "pictures").iterdir())
    again = load(path)
    assert again.fingerprint == first.fingerprint
    assert sorted((cache_folder() / "pictures").iterdir()) == entries
    (path / "dog/3.png").write_bytes(png(9))
    assert levels(load(path))[2] == (9, "dog")
    assert load(path).fingerprint != first.fingerprint
    assert load(path, channels=3).images.shape == (3, 3, 4, 4)


def test_a_killed_decoding_leaves_nothing_that_is_mistaken_for_whole(tmp_path: Path) -> None:
    path = write(tmp_path, CATS_AND_DOGS)
    whole = load(path, size=(6, 6))
    key = next(p for p in (cache_folder() / "pictures").iterdir() if _is(p, whole))
    half = key.with_name(f".{key.name}.killed")
    half.mkdir()
    (half / "images.npy").write_bytes((key / "images.npy").read_bytes()[:100])
    shutil.rmtree(key)
    assert levels(load(path, size=(6, 6))) == EXPECTED


def _is(folder: Path, data: Pictures) -> bool:
    facts = folder / "facts.json"
    return facts.is_file() and data.fingerprint in facts.read_text()


def test_unreadable_files_are_named_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"cat/{i}.png": png(i) for i in range(8)} | {"cat/torn.png": png(9)[:45]}
    data = load(write(tmp_path, files), quiet=False)
    assert (len(data), data.unreadable) == (8, 1)
    said = capsys.readouterr().err
    assert "1 of 9 files" in said
    report = Path(said.split("left out; ")[1].split(" names them")[0])
    assert report.read_text().startswith("cat/torn.png: ")


def test_a_class_of_one_picture_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(tmp_path, CATS_AND_DOGS), quiet=False)
    assert "1 classes in" in (said := capsys.readouterr().err)
    assert "have one picture each, 'dog' for one: it will be copied rather than" in said


def test_more_than_a_fifth_unreadable_is_an_error(tmp_path: Path) -> None:
    files = {f"cat/{i}.png": png(i) for i in range(3)} | {"cat/torn.png": b""}
    with pytest.raises(TrainingError, match="1 of the first 4 files cannot be read, more than 20%"):
        load(write(tmp_path, files))


def test_a_class_with_nothing_readable_is_an_error(tmp_path: Path) -> None:
    files = {f"cat/{i}.png": png(i) for i in range(8)} | {"dog/torn.png": b""}
    with pytest.raises(TrainingError, match="no picture of class 'dog' can be read"):
        load(write(tmp_path, files))


def test_a_zip_bomb_is_left_out_without_being_unpacked(tmp_path: Path) -> None:
    header = b"P6 6000 6000 255\n"  # a flat picture of 108 MB in some 100 KB
    files = {f"cat/{i}.png": png(i) for i in range(8)}
    files["cat/bomb.ppm"] = header + bytes(6000 * 6000 * 3)
    assert load(write(tmp_path, files, zipped=True)).unreadable == 1


def test_a_picture_that_unpacks_two_hundredfold_is_left_out(tmp_path: Path) -> None:
    files = {f"cat/{i}.png": png(i) for i in range(8)}
    files["cat/flat.ppm"] = b"P6 1000 1000 255\n" + bytes(3_000_000)  # far below 64 MiB
    data = load(write(tmp_path, files, zipped=True))
    assert (len(data), data.unreadable) == (8, 1)
    assert len(load(write(tmp_path, files))) == 9  # not packed, it is a picture like others


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b"?"}, "holds no pictures"),
        (CATS_AND_DOGS | {"bird/": b""}, "the class 'bird' has no pictures"),
        (
            {f"{name}/1.png": png(1) for name in ("train", "test", "extra")},
            "has extra beside the folders train and test: if these are splits, move it",
        ),
        (CATS_AND_DOGS | {"4.png": png(4)}, "pictures beside its class folders, for example 4.png"),
        ({"a.png": png(1), "dataset.json": b"[]"}, "is not of the form"),
        ({"a.png": png(1), "dataset.json": b'{"labels": [["a.png", 0.5]]}'}, "the label 0.5"),
        ({"a.png": png(1), "dataset.json": b'{"labels": [["b.png", 0]]}'}, "the label None"),
        ({"a.png": png(1), "dataset.json": b'{"labels": [["a.png", 2]]}'}, "'0' has no pictures"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(
    tmp_path: Path, files: dict[str, bytes], message: str, zipped: bool
) -> None:
    with pytest.raises(TrainingError, match=message):
        load(write(tmp_path, files, zipped=zipped))


def test_pipes_and_links_to_nowhere_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, CATS_AND_DOGS)
    os.mkfifo(path / "cat/pipe.png")
    (path / "cat/link.png").symlink_to(tmp_path / "nowhere")
    assert levels(load(path)) == EXPECTED


def test_missing_torn_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist; give a folder or a zip"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="holds no pictures"):
        load(tmp_path / "empty")
    (tmp_path / "notes").write_text("hello")
    with pytest.raises(TrainingError, match="neither a folder nor a whole zip"):
        load(tmp_path / "notes")
    torn = write(tmp_path, CATS_AND_DOGS, zipped=True)
    torn.write_bytes(torn.read_bytes()[:-40])
    with pytest.raises(TrainingError, match="neither a folder nor a whole zip"):
        load(torn)
    with pytest.raises(TrainingError, match="'bird' is in only one of them"):
        load(write(tmp_path, CATS_AND_DOGS), class_names=("cat", "bird"))
