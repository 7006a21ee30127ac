"""Decoded pictures on disk: written once, whole or not at all, then mapped into memory.

    <cache>/pictures/<key>/images.npy      (N, C, H, W) uint8
    <cache>/pictures/<key>/labels.npy      (N,) int64
    <cache>/pictures/<key>/weights.npy     (N,) float64, where pictures are not shown alike
    <cache>/pictures/<key>/facts.json      fingerprint, how many files were left out
    <cache>/pictures/<key>.unreadable.txt  which, and why

The key covers everything the pixels depend on. All of it may be deleted at any time.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.errors import TrainingError
from training.pictures.decode import Resize, Unreadable, decode, to_array
from training.pictures.holdout import part_of
from training.pictures.source import Source, Split

_VERSION = 1  # changes whenever decoding does
_CHUNK = 1024
MOST_UNREADABLE = 0.2  # of a split; more are refused


@dataclass(frozen=True)
class Cached:
    """One data set, decoded: images (N, C, H, W) and labels (N,), mapped from disk.

    Attributes:
        weights: (N,) how often each is shown for once that others are; None: all alike.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    fingerprint: str
    unreadable: int
    report: Path


def cache_folder() -> Path:
    """Where what can be made again is kept: `emaki` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emaki"


def decoded(
    source: Source,
    *,
    split: Split,
    held_out: float,
    size: tuple[int, int],
    channels: int,
    resize: Resize,
    say: Callable[[str], None],
) -> Cached:
    """The source's pictures, decoded now if they are not in the cache.

    Args:
        split, held_out: which part of a source that has none of its own; 0: all of it.

    Raises:
        TrainingError: too many files cannot be read, a class has none left, the split is empty, or
            the cache cannot be written.
    """
    text = f"{_VERSION} {source.fingerprint} {size} {channels} {resize}"
    if held_out:
        text += f" {split} beside {held_out}"
    if source.weights or source.unusable:
        text += f" {list(source.weights)} {sorted(source.unusable)}"
    if held_out and not all(source.whole):
        text += f" {list(source.whole)}"
    labels = np.asarray(source.labels, dtype=np.int64)
    key = hashlib.sha256(text.encode() + labels.tobytes()).hexdigest()[:24]
    folder = cache_folder() / "pictures"
    try:
        if not (folder / key).is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            say(f"decoding {len(labels)} pictures (once, cached in {folder})")
            if held_out:
                source = source.only(part_of(source, split=split, share=held_out))
            with fresh_folder(folder, key) as fresh, bombs_are_errors():
                _decode_all(
                    source,
                    fresh,
                    report=_report(folder / key),
                    size=size,
                    channels=channels,
                    resize=resize,
                )
        return _open(folder / key)
    except OSError as error:
        raise TrainingError(
            f"the decoded pictures cannot be kept in {folder}: {error}; free some space, "
            "or set XDG_CACHE_HOME to a folder that has it"
        ) from error


def _decode_all(
    source: Source,
    fresh: Path,
    *,
    report: Path,
    size: tuple[int, int],
    channels: int,
    resize: Resize,
) -> None:
    """Fill ``fresh`` with the three files; name in ``report`` what cannot be read."""

    def pixels(index: int) -> npt.NDArray[np.uint8] | str:
        try:
            data = source.data(index)
            if isinstance(data, bytes):
                return decode(data, size=size, channels=channels, resize=resize)
            return to_array(Image.fromarray(data), size=size, channels=channels, resize=resize)
        except Unreadable as error:
            return f"{source.names[index]}: {error}"

    labels = np.asarray(source.labels, dtype=np.int64)
    count, good, unreadable = len(labels), list[int](), list[str]()
    images = np.lib.format.open_memmap(
        fresh / "images.npy", mode="w+", dtype=np.uint8, shape=(count, channels, *size)
    )
    reserve(fresh / "images.npy")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, _CHUNK):
            chunk = range(start, min(start + _CHUNK, count))
            for index, result in zip(chunk, pool.map(pixels, chunk), strict=True):
                if isinstance(result, str):
                    unreadable.append(result)
                else:
                    images[len(good)] = result
                    good.append(index)
            if len(unreadable) > MOST_UNREADABLE * count:
                break
    if unreadable:
        report.write_text("\n".join(unreadable) + "\n", encoding="utf-8", errors="replace")
    _require_enough(source, good, unreadable, report)
    images.flush()
    _shorten(fresh / "images.npy", len(good))
    kept = labels[good]
    np.save(fresh / "labels.npy", kept)
    if source.weights:
        np.save(fresh / "weights.npy", np.asarray(source.weights, dtype=np.float64)[good])
    digest = hashlib.sha256(images[: len(good)].data)
    digest.update(kept.data)
    facts = {"fingerprint": digest.hexdigest(), "unreadable": len(unreadable)}
    (fresh / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _require_enough(source: Source, good: list[int], unreadable: list[str], report: Path) -> None:
    count = len(source.labels)
    if len(unreadable) > MOST_UNREADABLE * count:
        raise TrainingError(
            f"{len(unreadable)} of the first {len(unreadable) + len(good)} files cannot be read, "
            f"more than {MOST_UNREADABLE:.0%} of all {count}: {unreadable[0]}; {report} names them"
        )
    lost = set(source.labels) - {source.labels[index] for index in good}
    if lost and (source.classes or not good):
        name = source.classes[min(lost)] if source.classes else "all"
        raise TrainingError(f"no picture of class {name!r} can be read; {report} names them")


def reserve(path: Path) -> None:
    """Take the file's space on disk now: a mapped write that finds none kills the process."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _shorten(path: Path, count: int) -> None:
    """Cut an array file down to its first ``count`` pictures."""
    whole = np.load(path, mmap_mode="r")
    if count < len(whole):
        shorter = path.with_suffix(".short")
        with shorter.open("wb") as file:
            np.lib.format.write_array(file, whole[:count])
        shorter.replace(path)


def _open(folder: Path) -> Cached:
    facts = json.loads((folder / "facts.json").read_bytes())
    return Cached(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy"),
        weights=np.load(weights) if (weights := folder / "weights.npy").is_file() else None,
        fingerprint=facts["fingerprint"],
        unreadable=facts["unreadable"],
        report=_report(folder),
    )


def _report(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unreadable.txt")


@contextmanager
def fresh_folder(parent: Path, key: str) -> Iterator[Path]:
    """A folder to fill, renamed to ``key`` at the end unless another process was faster."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=parent))
    try:
        yield fresh
        for file in fresh.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        fresh.chmod(0o755)
        try:
            fresh.rename(parent / key)
        except OSError:
            if not (parent / key).is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Pillow only warns of pictures of a hundred million pixels; here that is a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield
