"""A look at a few pictures of a data set: how large they are, and whether they have colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.errors import TrainingError
from training.pictures.decode import Unreadable, open_picture
from training.pictures.labels import Naming
from training.pictures.mixture import Asked, open_all

_GLANCED = 64


@dataclass(frozen=True)
class Glance:
    """Some of a data set's pictures, looked at.

    Attributes:
        sizes: (height, width) in pixels.
        modes: Pillow's.
    """

    pictures: int
    classes: int
    described: bool
    sizes: Sequence[tuple[int, int]]
    modes: frozenset[str]
    transparent: bool

    @property
    def channels(self) -> int:
        """Grey where all are."""
        return 1 if self.modes <= {"1", "L", "LA", "I;16", "I", "F"} else 3


def glance(asked: Sequence[Asked], label: str) -> Glance:
    """Look at a few pictures from all over.

    Raises:
        TrainingError: the data cannot be used, or none of these can be read.
    """
    source = open_all(asked, split="train", naming=Naming(field=label))
    sizes: list[tuple[int, int]] = []
    modes, transparent = set[str](), False
    for index in np.linspace(0, len(source) - 1, min(_GLANCED, len(source))).astype(int).tolist():
        try:
            data = source.data(index)
        except Unreadable:
            continue
        if not isinstance(data, bytes):
            sizes.append((int(data.shape[0]), int(data.shape[1])))
            modes.add("L")
            continue
        try:
            image = open_picture(data)
        except Unreadable:
            continue
        sizes.append((image.height, image.width))
        modes.add(image.mode)
        transparent = transparent or image.has_transparency_data
    if not sizes:
        raise TrainingError(
            "none of the pictures that were looked at can be read; `python -m training data check` "
            "says why"
        )
    return Glance(
        pictures=len(source),
        classes=len(source.classes),
        described=any(fields and "text" in fields for fields in source.about),
        sizes=sizes,
        modes=frozenset(modes),
        transparent=transparent,
    )
