"""Which pictures are kept out of training, where the data brings no test split of its own.

A picture is held out by the hash of its bytes, so the choice depends on nothing else: not on the
picture's name, its place, or what is beside it. More pictures change nothing about the others, and
a picture that is there twice is on one side only. Pictures of a group are held out together, by
the hash of its name. Knows nothing of pixels or caches.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from training.errors import NoTestPictures
from training.pictures.decode import Unreadable
from training.pictures.source import Source, Split


def part_of(source: Source, *, split: Split, share: float) -> Sequence[int]:
    """The indices of a source's pictures that belong to a split.

    What cannot be read counts as training data, where it is reported.

    Raises:
        NoTestPictures: the test split is wanted, and nothing is held out.
    """
    chosen = held_out(source, [_is_low(source, index, share) for index in range(len(source))])
    if split == "train":
        return [index for index in range(len(source)) if index not in chosen]
    if not chosen and all(source.whole):
        raise NoTestPictures(
            f"of {len(source)} pictures none is held out at a share of {share:g}; put test "
            "pictures into the folders train and test beside each other"
        )
    return [i for i in range(len(source)) if i in chosen or not source.whole[i]]


def held_out(source: Source, low: Sequence[bool]) -> set[int]:
    """The pictures that are held out, of those whose hashes are low.

    Those of data with a split of its own are not. A class all of whose pictures would be held out
    is trained on whole instead: it could not be drawn otherwise.
    """
    chosen = {index for index in range(len(source)) if low[index] and source.whole[index]}
    trained = {source.labels[i] for i in range(len(source)) if i not in chosen}
    if source.classes:
        chosen = {index for index in chosen if source.labels[index] in trained}
    return chosen


def grouped(source: Source, index: int) -> bytes | None:
    """What a picture is held out by together with others; None: it is by itself."""
    return source.groups[index].encode(errors="surrogatepass") if source.groups else None


def is_low(data: Any, share: float) -> bool:
    """Whether the hash of a picture's bytes, or of its pixels, is below a share of all hashes."""
    digest = hashlib.sha256(data if isinstance(data, bytes) else data.tobytes()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _is_low(source: Source, index: int, share: float) -> bool:
    try:
        data = grouped(source, index) or source.data(index)
    except Unreadable:
        return False
    return is_low(data, share)
