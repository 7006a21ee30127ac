"""Where pictures come from: a folder, a zip, or a folder of IDX files; and what class each has.

A folder and a zip are read alike: class folders (nested folders belong to the outermost), or
pictures without classes, or a `dataset.json` beside them (EDM's layout: `{"labels": [[name,
label], ...]}`). Nothing is decoded here.
"""

import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from training.errors import TrainingError
from training.pictures.captions import METADATA
from training.pictures.decode import SUFFIXES, Unreadable
from training.pictures.idx import read_idx
from training.pictures.labels import LABELS_FILE, common_folder, from_folders, from_json, numbered

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_HELD_OUT = ("test", "val", "valid", "validation")  # the first of them is the test split
_IDX_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_MOST_BYTES = 1 << 26  # of one picture's file
_SUSPICIOUS_RATIO = 200  # pictures hardly compress; what unpacks to this much more is a bomb


@dataclass(frozen=True)
class Source:
    """Pictures that can be read one by one.

    Attributes:
        names: what each picture is called in messages.
        labels: the class of each; all zero without classes.
        classes: names in label order; empty: no classes.
        fingerprint: changes whenever the files do.
        read: picture i's file, or its pixels (H, W) where they are stored plain; raises Unreadable.
        others: files that are passed over, because their suffix is no picture's.
        whole: whether these are all pictures there are, in no split; `training.pictures.holdout`
            says which of them are kept out of training.
        metadata: files of captions, by their names.
        groups: what pictures are held out together by, where not each by itself.
    """

    names: Sequence[str]
    labels: Sequence[int]
    classes: tuple[str, ...]
    fingerprint: str
    read: Callable[[int], Any]
    others: Sequence[str] = ()
    whole: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    groups: Sequence[str] = ()


def open_source(path: Path, *, split: Split, class_names: tuple[str, ...]) -> Source:
    """Find the pictures of a split.

    Args:
        path: a folder of IDX files, of pictures or of class folders, or a zip of the last two.
            The test split is a folder `test` (else `val`) beside `train` in it, or its sibling
            with "test" for "train"; where there is neither, all pictures are in either split.
        class_names: names in label order; empty: the folders' names, or "0", "1", ...

    Raises:
        TrainingError: nothing is there, or it is in none of these layouts.
    """
    if not path.exists():
        raise TrainingError(f"data path {path} does not exist; give a folder or a zip with --data")
    if path.is_dir():
        if any(path.glob("*-idx[13]-ubyte*")):
            whole = not any(path.glob(f"{_IDX_PREFIX['test']}-*-idx[13]-ubyte*"))
            return _idx(path, "train" if whole else split, class_names, whole=whole)
        return _files(_Folder(path), path, split, class_names)
    if not zipfile.is_zipfile(path):
        raise TrainingError(f"data path {path} is neither a folder nor a whole zip")
    try:
        return _files(_Zip(path), path, split, class_names)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; fetch it again") from error


class _Folder:
    """Files below a folder, by their relative names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.folders: list[str] = []
        self.sizes: dict[str, int] = {}
        self.identities: dict[str, str] = {}
        for parent, folders, files in os.walk(path, followlinks=True):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and not _leads_back(Path(parent), name)
            )
            here = Path(parent).relative_to(path)
            self.folders += [(here / name).as_posix() for name in folders]
            for name in sorted(files):
                file = Path(parent) / name
                # A pipe would be waited for, and a link may lead nowhere.
                if name.startswith(".") or not file.is_file():
                    continue
                about = file.stat()
                key = (here / name).as_posix()
                self.sizes[key] = about.st_size
                self.identities[key] = f"{about.st_size} {about.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        if self.sizes[name] > _MOST_BYTES:
            raise Unreadable(f"{self.sizes[name]} bytes are over {_MOST_BYTES}")
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise Unreadable(str(error.strerror)) from error


def _leads_back(parent: Path, name: str) -> bool:
    """Whether a folder is a link to one that holds it."""
    folder = parent / name
    return folder.is_symlink() and parent.resolve().is_relative_to(folder.resolve())


class _Zip:
    """Files in a zip, by their names; the archive stays open."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        shown = [
            info
            for info in sorted(self._zip.infolist(), key=lambda info: info.filename)
            if not any(part.startswith((".", "__MACOSX")) for part in info.filename.split("/"))
        ]
        self._infos = {info.filename: info for info in shown if not info.is_dir()}
        self.folders = [info.filename.rstrip("/") for info in shown if info.is_dir()]
        self.sizes = {name: info.file_size for name, info in self._infos.items()}
        self.identities = {
            name: f"{info.file_size} {info.CRC}" for name, info in self._infos.items()
        }

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > _MOST_BYTES or (info.file_size > 1 << 20 and ratio > _SUSPICIOUS_RATIO):
            raise Unreadable(f"unpacks from {info.compress_size} to {info.file_size} bytes")
        try:
            with self._zip.open(info) as file:
                return file.read(_MOST_BYTES + 1)
        except Exception as error:  # damage surfaces as zlib, struct and other errors
            raise Unreadable(f"{type(error).__name__}: {error}") from error


def _files(files: _Folder | _Zip, path: Path, split: Split, class_names: tuple[str, ...]) -> Source:
    found = [name for name in files.sizes if PurePosixPath(name).suffix.lower() in SUFFIXES]
    lists = [name for name in files.sizes if PurePosixPath(name).name == LABELS_FILE]
    root = common_folder([*found, *lists, *files.folders], found)
    tops = {name.removeprefix(root).split("/")[0] for name in [*found, *files.folders]} - {""}
    held_out = [name for name in _HELD_OUT if name in tops]
    whole = False
    if held_out and tops == {"train", *held_out}:
        root += "train/" if split == "train" else f"{held_out[0]}/"
    elif (sibling := _test_sibling(path)) is None:
        whole = True
    elif split == "test":
        return dataclasses.replace(
            open_source(sibling, split="train", class_names=class_names), whole=False
        )
    found = [name for name in found if name.startswith(root)]
    pictures = set(found)
    others = [
        name
        for name in files.sizes
        if name.startswith(root) and name not in pictures and name not in lists
    ]
    metadata = [name for name in others if PurePosixPath(name).name == METADATA]
    others = [name for name in others if name not in metadata]
    if not found:
        where = f"{path}/{root}" if root else path
        raise TrainingError(
            f"{where} holds no pictures; expected class folders of pictures, pictures, or "
            "MNIST's IDX files"
        )
    short = [name.removeprefix(root) for name in found]
    labels_file = f"{root}{LABELS_FILE}"
    if labels_file in files.sizes:
        labels, classes = from_json(_read_labels(files, labels_file), short, path, class_names)
    else:
        folders = [f.removeprefix(root) for f in files.folders if f.startswith(root)]
        labels, classes = from_folders(short, folders, path, class_names)
    listing = hashlib.sha256()
    for name in [*found, labels_file]:
        listing.update(f"{name}\0{files.identities.get(name, '')}\n".encode(errors="replace"))
    return Source(
        found,
        labels,
        classes,
        listing.hexdigest(),
        lambda index: files.read(found[index]),
        others,
        whole,
        {name: _read_labels(files, name) for name in metadata},
    )


def _read_labels(files: _Folder | _Zip, name: str) -> bytes:
    try:
        return files.read(name)
    except Unreadable as error:
        raise TrainingError(f"{name} cannot be read: {error}") from error


def _test_sibling(path: Path) -> Path | None:
    sibling = path.with_name(path.name.replace("train", "test"))
    return sibling if sibling != path and sibling.exists() else None


def _idx(path: Path, split: Split, class_names: tuple[str, ...], *, whole: bool) -> Source:
    prefix = _IDX_PREFIX[split]
    images_file = _find(path, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(path, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not images.size:
        raise TrainingError(
            f"{path}: {images_file.name} has shape {images.shape} and its labels {labels.shape}; "
            "expected (N, H, W) and (N,) with the same N > 0"
        )
    numbers, classes = numbered(labels.tolist(), path, class_names)
    digest = hashlib.sha256(f"{images.shape}".encode())
    digest.update(images.data)
    digest.update(labels.data)
    names = [f"{images_file.name}[{index}]" for index in range(len(images))]
    return Source(
        names, numbers, classes, digest.hexdigest(), lambda index: images[index], whole=whole
    )


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise TrainingError(
        f"{folder} has neither {name} nor {name}.gz; point --data at a folder with the four IDX "
        "files of the data set"
    )
