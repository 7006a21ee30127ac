"""Which pictures are the same, byte for byte, and which nearly: by perceptual hash.

A perceptual hash (imagehash's `phash`: the signs of a small picture's lowest cosines, 64 bits)
hardly changes when a picture is scaled or compressed again. Two that differ in a few bits are
found through the bands in which they agree. Knows nothing of files.
"""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from PIL import Image

Hashes = npt.NDArray[np.uint64]
NEAR_BITS = 3  # that may differ: crops and other pictures of one thing differ in more
_BANDS = NEAR_BITS + 1  # of 16 bits; what differs in 3 bits agrees in one band at least
_COMPARED = 1 << 22  # pairs at once


def can_hash() -> bool:
    """Whether imagehash is installed; it is an extra."""
    return find_spec("imagehash") is not None


def perceptual_hash(image: Image.Image) -> int:
    """A picture's hash, with imagehash."""
    from imagehash import phash

    return int.from_bytes(np.packbits(phash(image).hash).tobytes(), "big")


def same(keys: Sequence[bytes]) -> list[list[int]]:
    """Groups of indices with the same key, of two and more."""
    groups: dict[bytes, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def nearly_same(hashes: Hashes) -> list[list[int]]:
    """Groups of indices whose hashes differ in at most `NEAR_BITS`, linked one to another."""
    # The same hash many times over, of blank pages for one, is one node.
    different, of = np.unique(hashes, return_inverse=True)
    leader = list(range(len(different)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = index = leader[leader[index]]
        return index

    for band in range(_BANDS):
        part = (different >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        edges = np.flatnonzero(np.diff(part[order])) + 1
        for group in np.split(order, edges):
            if len(group) < 2:
                continue
            rows = max(1, _COMPARED // len(group))
            for start in range(0, len(group), rows):
                rest = group[start:]
                apart = np.bitwise_count(different[rest[:rows]][:, None] ^ different[rest][None])
                for one, other in np.argwhere(np.triu(apart <= NEAR_BITS, 1)):
                    leader[find(int(rest[other]))] = find(int(rest[one]))
    groups: dict[int, list[int]] = {}
    for index, node in enumerate(of.tolist()):
        groups.setdefault(find(node), []).append(index)
    return [group for group in groups.values() if len(group) > 1]
