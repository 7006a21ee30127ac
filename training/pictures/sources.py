"""Where pictures come from: which layout a path has, and which of it a split is.

A folder, a zip or a tar of pictures (`layouts`), WebDataset's shards, parquet files (`parquet`), or
a folder of IDX files. Several of them become one source in `mixture`. Nothing is decoded here.
"""

import dataclasses
import hashlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from training.errors import TrainingError
from training.pictures.archives import TARS, Files, Folder, Shards, Tar, Zip
from training.pictures.idx import read_idx
from training.pictures.labels import LABELS_FILE, Naming, arranged, numbered
from training.pictures.layouts import is_picture, root_of, source_of
from training.pictures.parquet import PARQUET, read_parquet
from training.pictures.source import HELD_OUT, Source, Split

_IDX_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}


def open_source(
    path: Path, *, split: Split, naming: Naming | None = None, extend: bool = False
) -> Source:
    """Find the pictures of a split.

    Args:
        path: a folder, a zip or a tar of pictures or class folders, with what is said of them
            beside them; a folder of shards, of parquet files or of IDX files, or one of these. The
            test split is a folder `test` (else `val`) beside `train` in it, files with such a word
            in their names, or the sibling with "test" for "train"; where there is none, all
            pictures are in either split.
        naming: how classes are told.
        extend: whether there may be other classes than the named ones, and fewer.

    Raises:
        TrainingError: nothing is there, or it is in none of these layouts.
    """
    naming = naming or Naming()
    source = _open(path, split, naming)
    labels, classes = arranged(
        source.labels,
        source.classes,
        path=path,
        naming=naming,
        extend=extend,
    )
    return dataclasses.replace(source, labels=labels, classes=classes)


def _open(path: Path, split: Split, naming: Naming) -> Source:
    if not path.exists():
        raise TrainingError(f"data path {path} does not exist; give a folder or a zip with --data")
    if path.is_dir():
        return _folder(path, split, naming)
    try:
        if path.name.endswith(TARS):
            return _files(Tar(path), path, split, naming)
        if path.suffix == PARQUET:
            sibling = _sibling(path)
            chosen = sibling if sibling is not None and split == "test" else path
            return read_parquet([chosen], path, naming, whole=sibling is None)
        if zipfile.is_zipfile(path):
            return _files(Zip(path), path, split, naming)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; fetch it again") from error
    raise TrainingError(
        f"data path {path} is neither a folder nor a whole zip, nor a tar or a parquet file"
    )


def _folder(path: Path, split: Split, naming: Naming) -> Source:
    if any(path.glob("*-idx[13]-ubyte*")):
        whole = not any(path.glob(f"{_IDX_PREFIX['test']}-*-idx[13]-ubyte*"))
        return _idx(path, "train" if whole else split, naming, whole=whole)
    files = Folder(path)
    if not any(is_picture(name) for name in files.sizes):
        tables = [name for name in files.sizes if name.endswith(PARQUET)]
        shards = [name for name in files.sizes if name.endswith(TARS)]
        if tables:
            chosen, whole = _of_split(tables, split)
            return read_parquet([path / name for name in chosen], path, naming, whole=whole)
        if shards:
            chosen, whole = _of_split(shards, split)
            return _shards(path, chosen, naming, whole=whole)
    return _files(files, path, split, naming)


def _shards(path: Path, names: Sequence[str], naming: Naming, *, whole: bool) -> Source:
    """All of them as one archive; a shard's name is no class."""
    inner = re.compile("|".join(f"^{re.escape(name)}/" for name in names))
    files = Shards({name: path / name for name in names})
    return source_of(files, path, "", naming, whole=whole, short=lambda name: inner.sub("", name))


def _of_split(names: Sequence[str], split: Split) -> tuple[list[str], bool]:
    """Those files whose names or folders say that they are of a split; and whether all are in none.

    As Hugging Face has it: `data/train-00000-of-00002.parquet`, `test/0000.tar`.
    """

    def words(name: str) -> set[str]:
        return set(re.split(r"[^a-z]+", name.lower()))

    told = {word for name in names for word in words(name)}
    held_out = next((word for word in HELD_OUT if word in told), None)
    if held_out is None:
        return sorted(names), True
    trained = sorted(name for name in names if not words(name) & set(HELD_OUT))
    if not trained:  # a test split alone is data like other data
        return sorted(names), True
    if split == "test":
        return sorted(name for name in names if held_out in words(name)), False
    return trained, False


def _files(files: Files, path: Path, split: Split, naming: Naming) -> Source:
    found = [name for name in files.sizes if is_picture(name)]
    lists = [name for name in files.sizes if PurePosixPath(name).name == LABELS_FILE]
    root, whole = root_of([*found, *lists, *files.folders], found, path, split)
    if whole and (sibling := _sibling(path)) is not None:
        if split == "test":
            test = _open(sibling, "train", naming)
            return dataclasses.replace(test, whole=[False] * len(test))
        whole = False
    return source_of(files, path, root, naming, whole=whole)


def _sibling(path: Path) -> Path | None:
    """The test split's file or folder beside the training split's."""
    sibling = path.with_name(path.name.replace("train", "test"))
    return sibling if sibling != path and sibling.exists() else None


def _idx(path: Path, split: Split, naming: Naming, *, whole: bool) -> Source:
    prefix = _IDX_PREFIX[split]
    images_file = _find(path, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(path, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not images.size:
        raise TrainingError(
            f"{path}: {images_file.name} has shape {images.shape} and its labels {labels.shape}; "
            "expected (N, H, W) and (N,) with the same N > 0"
        )
    numbers, classes = numbered(labels.tolist(), path, naming)
    digest = hashlib.sha256(f"{images.shape}".encode())
    digest.update(images.data)
    digest.update(labels.data)
    return Source(
        names=[f"{images_file.name}[{index}]" for index in range(len(images))],
        labels=numbers,
        classes=classes,
        fingerprint=digest.hexdigest(),
        read=lambda index: images[index],
        whole=[whole] * len(images),
    )


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise TrainingError(
        f"{folder} has neither {name} nor {name}.gz; point --data at a folder with the four IDX "
        "files of the data set"
    )
