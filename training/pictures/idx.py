"""IDX files, MNIST's format, gzipped or not: a header of sizes, then unsigned bytes.

Knows nothing of splits, classes or pictures.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError

_UNSIGNED_BYTE = 0x08
_MOST_BYTES = 1 << 34  # 16 GiB: a header that asks for more is damaged or hostile


_CHUNK = 1 << 24  # a header may claim more than there is


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Parse one IDX file of unsigned bytes.

    Raises:
        TrainingError: not IDX, of another element type, or not as long as its header says.
    """
    try:
        with path.open("rb") as file:
            return _parse(path, gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file)
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read: {error}; fetch it again") from error


def _parse(path: Path, file: _Reader) -> npt.NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _UNSIGNED_BYTE or not magic[3]:
        raise TrainingError(f"{path} is not an IDX file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(file.read(4 * magic[3]), dtype=">u4"))
    expected = math.prod(shape)
    if len(shape) != magic[3] or expected > _MOST_BYTES:
        raise TrainingError(f"{path} has a damaged header (sizes {shape}); fetch it again")
    body = bytearray()
    while len(body) <= expected and (read := file.read(min(_CHUNK, expected + 1 - len(body)))):
        body += read
    if len(body) != expected:
        found = f"{len(body)}" if len(body) < expected else f"more than {expected}"
        raise TrainingError(
            f"{path} holds {found} bytes, its header says {expected}; fetch it again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
