"""From files to labelled pictures: class folders, imagefolders, EDM's and WebDataset's layouts.

Names, and the few files that speak of pictures, are read; nothing is decoded.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from training.errors import TrainingError
from training.pictures.archives import MOST_WORDS, Files
from training.pictures.decode import SUFFIXES, Unreadable
from training.pictures.labels import (
    LABELS_FILE,
    Labels,
    Naming,
    common_folder,
    from_fields,
    from_folders,
    from_json,
)
from training.pictures.metadata import fields_of, is_metadata, sidecars_of
from training.pictures.source import HELD_OUT, Source, Split


def is_picture(name: str) -> bool:
    """Whether a file's suffix is a picture's."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def root_of(
    names: Sequence[str], pictures: list[str], path: Path, split: Split
) -> tuple[str, bool]:
    """The folder that a split's pictures are in, with its slash; and whether there are no splits.

    A folder `train` alone is no class, nor is a folder `test`.

    Raises:
        TrainingError: both are there, and others beside them.
    """
    root = common_folder(list(names), pictures)
    tops = {name.removeprefix(root).split("/")[0] for name in pictures} - {""}
    splits = {top.lower(): top for top in tops if top.lower() in ("train", *HELD_OUT)}
    held_out = [splits[name] for name in HELD_OUT if name in splits]
    others = tops - set(splits.values())
    if "train" in splits and held_out:
        if others:
            raise TrainingError(
                f"{path} has {min(others)} beside the folders {splits['train']} and {held_out[0]}: "
                "if these are splits, move it into one of them; if they are classes, rename one"
            )
        return f"{root}{splits['train'] if split == 'train' else held_out[0]}/", False
    only = next(iter(tops)) if len(tops) == 1 else ""
    if only in splits.values() and all("/" in name.removeprefix(root) for name in pictures):
        return f"{root}{only}/", True
    return root, True


def source_of(
    files: Files,
    path: Path,
    root: str,
    naming: Naming,
    *,
    whole: bool,
    short: Callable[[str], str] | None = None,
) -> Source:
    """The pictures below a root folder.

    Args:
        whole: whether they are in no split.
        short: a name without what says nothing of classes; None: without the root.

    Raises:
        TrainingError: there are none, or what is said of them is not of its form.
    """
    inside = [name for name in files.sizes if name.startswith(root)]
    found = [name for name in inside if is_picture(name)]
    if not found:
        where = f"{path}/{root}" if root else path
        raise TrainingError(
            f"{where} holds no pictures; expected class folders of pictures, pictures, parquet "
            "files, WebDataset's shards, or MNIST's IDX files"
        )
    pictures = set(found)
    labels_file = f"{root}{LABELS_FILE}"
    others = [name for name in inside if name not in pictures and name != labels_file]
    # Those above speak of what is below them, too.
    metadata = [name for name in files.sizes if is_metadata(name) and _speaks_of(name, root)]
    sidecars = sidecars_of(found, [name for name in others if name not in metadata])
    about, remarks = fields_of(
        found, metadata, sidecars, lambda name: _read(files, name), there=files.sizes
    )
    short = short or (lambda name: name.removeprefix(root))
    names = [short(name) for name in found]
    unusable: Mapping[int, str] = {}
    by_field = from_fields(about, path, naming)
    if labels_file in files.sizes:
        labels, classes = from_json(_read(files, labels_file), names, path, naming)
    elif by_field is not None:
        (labels, classes), unusable = by_field
    else:
        folders = [short(name) for name in files.folders if name.startswith(root)]
        labels, classes = _by_folder(names, folders, path, described=bool(metadata or sidecars))
    listing = hashlib.sha256()
    for name in [*found, labels_file]:
        listing.update(f"{name}\0{files.identities.get(name, '')}\n".encode(errors="replace"))
    return Source(
        names=found,
        labels=labels,
        classes=classes,
        fingerprint=listing.hexdigest(),
        read=lambda index: files.read(found[index]),
        whole=[whole] * len(found),
        others=[name for name in others if name not in metadata and name not in sidecars],
        about=about if metadata or sidecars else (),
        unusable=unusable,
        remarks=[*files.remarks, *remarks],
    )


def _by_folder(names: list[str], folders: list[str], path: Path, *, described: bool) -> Labels:
    """Classes by folder; a single folder of pictures that are described otherwise is none."""
    tops = {name.split("/")[0] for name in names if "/" in name}
    if described and len(tops) <= 1:
        return [0] * len(names), ()
    return from_folders(names, folders, path)


def _speaks_of(metadata: str, root: str) -> bool:
    folder = metadata.rpartition("/")[0]
    return metadata.startswith(root) or not folder or root.startswith(f"{folder}/")


def _read(files: Files, name: str) -> bytes:
    try:
        return files.read(name, MOST_WORDS)
    except Unreadable as error:
        raise TrainingError(f"{name} cannot be read: {error}") from error
