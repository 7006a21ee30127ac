"""Training pictures: read once, kept as uint8, checked before the first step.

Today IDX files (MNIST's format, gzipped or not). Shapes: N pictures of (C, H, W).
"""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class Pictures:
    """A labelled data set in memory.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 in [0, len(classes)).
        classes: names in label order.
        fingerprint: sha256 over pixels and labels; the same data has the same one everywhere.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)


def load_pictures(
    path: Path,
    *,
    split: Split = "train",
    size: tuple[int, int],
    channels: int,
    class_names: tuple[str, ...] = (),
) -> Pictures:
    """Load the IDX files of a split from a folder.

    Args:
        path: folder with ``train-images-idx3-ubyte`` and its three siblings, gzipped or not.
        class_names: names in label order; empty names the classes "0", "1", ...

    Raises:
        TrainingError: a file is missing or damaged, or does not fit size, channels or names.
    """
    if not path.is_dir():
        raise TrainingError(f"data path {path} is not a folder; give one with --data")
    prefix = _PREFIX[split]
    images = read_idx(_find(path, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(path, f"{prefix}-labels-idx1-ubyte")).astype(np.int64)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise TrainingError(
            f"{path}: {split} images have shape {images.shape} and labels {labels.shape}; "
            "expected (N, H, W) and (N,) with the same N > 0"
        )
    if images.shape[1:] != size or channels != 1:
        raise TrainingError(
            f"{path} holds 1-channel pictures of {images.shape[1]}x{images.shape[2]}, the "
            f"configuration asks for {channels} channels and {size[0]}x{size[1]}; set data.size "
            "and data.channels to the data's"
        )
    classes = class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
    if labels.max() >= len(classes):
        raise TrainingError(
            f"{path} has label {labels.max()}, but data.class_names names only {len(classes)}"
        )
    digest = hashlib.sha256(images.tobytes())
    digest.update(labels.tobytes())
    return Pictures(images[:, None], labels, classes, digest.hexdigest())


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Parse one IDX file of unsigned bytes.

    Raises:
        TrainingError: not IDX, of another element type, or shorter than its header says.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read: {error}; fetch it again") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE or not 1 <= raw[3] <= 4:
        raise TrainingError(f"{path} is not an IDX file of unsigned bytes")
    header = 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:header], dtype=">u4"))
    if len(raw) - header != math.prod(shape):
        raise TrainingError(
            f"{path} holds {len(raw) - header} bytes, its header says {math.prod(shape)}; "
            "fetch it again"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise TrainingError(
        f"{folder} has neither {name} nor {name}.gz; point --data at a folder with the four IDX "
        "files of the data set"
    )
