"""Which pictures are kept out of training, where the data brings no test split of its own.

A picture is held out by the hash of its bytes, so the choice depends on nothing else: not on the
picture's name, its place, or what is beside it. More pictures change nothing about the others, and
a picture that is there twice is on one side only. Pictures of a group are held out together, by
the hash of its name. Knows nothing of pixels or caches.
"""

import hashlib
from collections.abc import Sequence

from training.errors import TrainingError
from training.pictures.decode import Unreadable
from training.pictures.sources import Source, Split


def part_of(source: Source, *, split: Split, share: float) -> Sequence[int]:
    """The indices of a source's pictures that belong to a split.

    A class all of whose pictures would be held out is trained on whole instead: it could not be
    drawn otherwise. What cannot be read counts as training data, where it is reported.

    Raises:
        TrainingError: the test split is wanted, and nothing is held out.
    """
    held_out = {index for index in range(len(source.labels)) if _is_held_out(source, index, share)}
    trained = {source.labels[i] for i in range(len(source.labels)) if i not in held_out}
    if source.classes:
        held_out = {index for index in held_out if source.labels[index] in trained}
    if split == "train":
        return [index for index in range(len(source.labels)) if index not in held_out]
    if not held_out:
        raise TrainingError(
            f"of {len(source.labels)} pictures none is held out at a share of {share:g}; put test "
            "pictures into the folders train and test beside each other"
        )
    return sorted(held_out)


def _is_held_out(source: Source, index: int, share: float) -> bool:
    try:
        data = source.groups[index].encode() if source.groups else source.read(index)
    except Unreadable:
        return False
    digest = hashlib.sha256(data if isinstance(data, bytes) else data.tobytes()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
