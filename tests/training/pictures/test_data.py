"""Reading IDX files, and saying clearly what is wrong with them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.training.data import NAMES, idx_bytes, pictures, write_idx
from training.errors import TrainingError
from training.pictures.data import load_pictures
from training.pictures.idx import read_idx


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read(tmp_path: Path, zipped: bool) -> None:
    data = load_pictures(
        write_idx(tmp_path, zipped=zipped), size=(8, 8), channels=1, class_names=NAMES
    )
    images, labels = pictures(96, seed=0)
    assert np.array_equal(data.images[:, 0], images)
    assert np.array_equal(data.labels, labels)
    assert data.classes == NAMES
    test = load_pictures(tmp_path, split="test", size=(8, 8), channels=1)
    assert (len(test), test.classes) == (30, ("0", "1", "2"))


def test_fingerprint_names_the_content(tmp_path: Path) -> None:
    def fingerprint(folder: Path) -> str:
        return load_pictures(folder, size=(8, 8), channels=1).fingerprint

    packed = write_idx(tmp_path / "packed")
    plain = write_idx(tmp_path / "plain", zipped=False)
    other = write_idx(tmp_path / "other", train=95)
    assert fingerprint(packed) == fingerprint(plain) != fingerprint(other)


def test_what_is_missing_or_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist; give a folder or a zip"):
        load_pictures(tmp_path / "nowhere", size=(8, 8), channels=1)
    with pytest.raises(TrainingError, match="holds no pictures; expected class folders"):
        load_pictures(tmp_path, size=(8, 8), channels=1)
    write_idx(tmp_path)
    with pytest.raises(TrainingError, match="label 2, but data.class_names names only 2"):
        load_pictures(tmp_path, size=(8, 8), channels=1, class_names=("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\1", "not an IDX file of unsigned bytes"),
        (idx_bytes(np.zeros((3, 2), np.uint8))[:-1], "holds 5 bytes, its header says 6"),
        (b"\0\0\x08\x02\0\2\0\0\0\1\0\0" + bytes(9), "holds 9 bytes, its header says 8589934592"),
    ],
)
def test_files_that_are_not_idx_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        read_idx(tmp_path / "file")


def test_a_torn_gzip_is_refused(tmp_path: Path) -> None:
    torn = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))[:-20]
    (tmp_path / "file.gz").write_bytes(torn)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_idx(tmp_path / "file.gz")
