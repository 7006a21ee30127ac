"""Files by their names, in a folder, a zip, a tar, or several tars; read one by one.

Nothing is unpacked onto the disk, and nothing here knows what the files mean.
"""

import contextlib
import gzip
import os
import posixpath
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from training.errors import TrainingError
from training.pictures.decode import Unreadable

TARS = (".tar", ".tar.gz", ".tgz")
_MOST_BYTES = 1 << 26  # of one picture's file
MOST_WORDS = 1 << 30  # of a file that speaks of pictures
_SUSPICIOUS_RATIO = 200  # pictures hardly compress; what unpacks to this much more is a bomb


class Files(Protocol):
    """Files that can be read by name."""

    @property
    def folders(self) -> Sequence[str]:
        """Names of all folders."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file."""
        ...

    @property
    def identities(self) -> Mapping[str, str]:
        """Text that changes when a file does."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a person should know of the whole."""
        ...

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        """A file's bytes; Unreadable where they cannot be had or are over ``most``."""
        ...


class Folder:
    """Files below a folder, by their relative names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.remarks: Sequence[str] = ()
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

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        _require_small(self.sizes[name], most)
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise Unreadable(str(error.strerror)) from error


def _leads_back(parent: Path, name: str) -> bool:
    """Whether a folder is a link to one on the way to it, or to one that holds such a one."""
    folder = parent / name
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(step.resolve().is_relative_to(target) for step in (parent, *parent.parents))


class Zip:
    """Files in a zip, by their names; the archive stays open."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self.remarks: Sequence[str] = ()
        shown = [
            info
            for info in sorted(self._zip.infolist(), key=lambda info: info.filename)
            if not _is_hidden(info.filename)
        ]
        self._infos = {info.filename: info for info in shown if not info.is_dir()}
        self.folders = [info.filename.rstrip("/") for info in shown if info.is_dir()]
        self.sizes = {name: info.file_size for name, info in self._infos.items()}
        self.identities = {
            name: f"{info.file_size} {info.CRC}" for name, info in self._infos.items()
        }

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        info = self._infos[name]
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > most or (info.file_size > 1 << 20 and ratio > _SUSPICIOUS_RATIO):
            raise Unreadable(f"unpacks from {info.compress_size} to {info.file_size} bytes")
        try:
            with self._zip.open(info) as file:
                return file.read(most + 1)
        except Exception as error:  # damage surfaces as zlib, struct and other errors
            raise Unreadable(f"{type(error).__name__}: {error}") from error


class Tar:
    """Files in a tar, by their names, also where links to them lie; the archive stays open.

    A gzipped one is unpacked into a nameless temporary file, where any of it can be read.
    """

    def __init__(self, path: Path) -> None:
        about = path.stat()
        whole = f"{about.st_size} {about.st_mtime_ns}"
        remarks: list[str] = []
        packed = path.name.endswith((".gz", ".tgz"))
        self._file = _unpacked(path, remarks) if packed else path.open("rb")
        weakref.finalize(self, self._file.close)
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        self._places: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        folders: list[str] = []
        for member in _members(self._file, path, remarks):
            name = member.name.removeprefix("./").rstrip("/")
            if _is_hidden(name):
                continue
            if member.isdir():
                folders.append(name)
            elif member.isreg():
                self._places[name] = (member.offset_data, member.size)
            elif member.islnk() or member.issym():
                beside = "" if member.islnk() else posixpath.dirname(name)
                links[name] = posixpath.normpath(posixpath.join(beside, member.linkname))
        self._places |= {
            name: self._places[target] for name, target in links.items() if target in self._places
        }
        if lost := sorted(set(links) - set(self._places)):
            remarks.append(
                f"{len(lost)} links in {path} lead to no file in it and are passed over, for "
                f"example {lost[0]}"
            )
        self._end = end
        self.remarks: Sequence[str] = tuple(remarks)
        self.folders = sorted(folders)
        self.sizes = {name: self._places[name][1] for name in sorted(self._places)}
        self.identities = {name: f"{whole} {self._places[name]}" for name in self.sizes}

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        start, size = self._places[name]
        _require_small(size, most)
        if start + size > self._end:
            raise Unreadable(f"the archive ends after {max(0, self._end - start)} of {size} bytes")
        return os.pread(self._file.fileno(), size, start)


def _members(file: BinaryIO, path: Path, remarks: list[str]) -> list[tarfile.TarInfo]:
    """What a tar lists, as far as it can be read; a remark says where it is cut off."""
    found: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                found.append(member)  # noqa: PERF402 - keeps what came before an error
            file.seek(archive.offset)
        # A whole archive ends in a block of zeros; tarfile is content with the end of the file.
        block = file.read(tarfile.BLOCKSIZE)
        if not block or block.strip(b"\0"):
            raise tarfile.ReadError("it has no end mark")
    except tarfile.TarError as error:
        if not found:
            raise TrainingError(f"{path} is no tar that can be read ({error})") from error
        remarks.append(
            f"{path} is cut off after {found[-1].name} ({error}); what came then is missing: "
            "fetch it again"
        )
    return found


def _unpacked(path: Path, remarks: list[str]) -> BinaryIO:
    """What a gzip holds, in a temporary file that no name leads to."""
    most = path.stat().st_size * _SUSPICIOUS_RATIO
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - is kept
    try:
        with gzip.open(path) as packed:
            while file.tell() <= most and (part := packed.read1(1 << 20)):
                file.write(part)
        file.flush()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        remarks.append(f"{path} is cut off: {error}")
    except OSError as error:
        with contextlib.suppress(OSError):
            file.close()
        raise TrainingError(
            f"{path} cannot be unpacked in {tempfile.gettempdir()}: {error}; free some space, or "
            "set TMPDIR to a folder that has it"
        ) from error
    if file.tell() > most:
        raise TrainingError(f"{path} unpacks to over {_SUSPICIOUS_RATIO} times its size; unpack it")
    return file


class Shards:
    """Several tars as one: a file's name is its shard's, a slash, and its own."""

    def __init__(self, shards: Mapping[str, Path]) -> None:
        tars = {name: Tar(path) for name, path in shards.items()}
        self._where = {
            f"{shard}/{name}": (tar, name) for shard, tar in tars.items() for name in tar.sizes
        }
        self.remarks = [remark for tar in tars.values() for remark in tar.remarks]
        self.folders = [f"{shard}/{name}" for shard, tar in tars.items() for name in tar.folders]
        self.sizes = {key: tar.sizes[name] for key, (tar, name) in self._where.items()}
        self.identities = {key: tar.identities[name] for key, (tar, name) in self._where.items()}

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        tar, inner = self._where[name]
        return tar.read(inner, most)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _require_small(size: int, most: int) -> None:
    if size > most:
        raise Unreadable(f"{size} bytes are over {most}")
