"""Several data sets as one, each with a weight: how often its pictures are shown.

A data set is asked for as ``PATH`` or ``PATH=WEIGHT``. The classes are those of all of them.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.pictures.labels import Naming, arranged
from training.pictures.source import Source, Split
from training.pictures.sources import open_source

_MOST_WEIGHT = 1000.0


@dataclass(frozen=True)
class Asked:
    """A data set and how often each of its pictures is shown for once that others are."""

    path: Path
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The path's last part, which says nothing of the machine that it is on."""
        return (self.path if self.path.name.strip(".") else self.path.resolve()).name

    def __str__(self) -> str:
        """As `parse` reads it, the weight always said: a path may end like one."""
        return f"{self.path}={repr(self.weight).removesuffix('.0')}"

    @classmethod
    def parse(cls, text: str) -> "Asked":
        """``PATH`` or ``PATH=WEIGHT``; TrainingError for a weight that cannot be."""
        path, equals, number = text.rpartition("=")
        if not equals or Path(text).exists():
            return cls(Path(text))
        try:
            weight = float(number)
        except ValueError:
            return cls(Path(text))
        if not 0 < weight <= _MOST_WEIGHT:
            raise TrainingError(
                f"--data {text}: the weight {number} is not in 0 ... {_MOST_WEIGHT:g}"
            )
        return cls(Path(path), weight)


def open_all(
    asked: Sequence[Asked], *, split: Split, naming: Naming | None = None, extend: bool = False
) -> Source:
    """The pictures of all data sets that are asked for, as one source.

    Args:
        naming, extend: as `open_source` has them.

    Raises:
        TrainingError: as `open_source`, or only some of them have classes.
    """
    if len(asked) == 1:
        return open_source(asked[0].path, split=split, naming=naming, extend=extend)
    naming = naming or Naming()
    parts = [open_source(one.path, split=split, naming=naming, extend=True) for one in asked]
    with_classes = [bool(part.classes) for part in parts]
    if any(with_classes) and not all(with_classes):
        raise TrainingError(
            f"{asked[with_classes.index(True)].path} has classes, and "
            f"{asked[with_classes.index(False)].path} has none: put its pictures into a folder "
            "that is named after their class"
        )
    named = (naming.known or naming.class_names) if any(with_classes) else ()
    others = {name for part in parts for name in part.classes} - set(named)
    classes = (*named, *sorted(others, key=_numbers_first))
    order = {name: label for label, name in enumerate(classes)}
    labels = [order[p.classes[label]] if classes else 0 for p in parts for label in p.labels]
    labels, classes = arranged(
        labels,
        classes,
        path=Path(" and ".join(str(one.path) for one in asked)),
        naming=naming,
        extend=extend,
    )
    return replace(_joined(parts, asked), labels=labels, classes=classes)


def _joined(parts: Sequence[Source], asked: Sequence[Asked]) -> Source:
    starts = [0, *accumulate(len(part) for part in parts)]

    def read(index: int) -> Any:
        part = bisect_right(starts, index) - 1
        return parts[part].read(index - starts[part])

    described = any(part.about for part in parts)
    digest = hashlib.sha256("\n".join(part.fingerprint for part in parts).encode())
    even = len({one.weight for one in asked}) == 1
    return Source(
        names=[f"{a.path}: {name}" for a, p in zip(asked, parts, strict=True) for name in p.names],
        labels=(),
        classes=(),
        fingerprint=digest.hexdigest(),
        read=read,
        whole=[whole for part in parts for whole in part.whole],
        others=[name for part in parts for name in part.others],
        about=[one for part in parts for one in part.about or [None] * len(part)]
        if described
        else (),
        unusable={
            starts[number] + index: why
            for number, part in enumerate(parts)
            for index, why in part.unusable.items()
        },
        weights=()
        if even
        else [one.weight for one, part in zip(asked, parts, strict=True) for _ in part.names],
        remarks=[remark for part in parts for remark in part.remarks],
    )


def _numbers_first(name: str) -> tuple[int, str]:
    """A key that sorts names that are numbers by their values."""
    return (len(name), name) if name.isdecimal() else (1 << 30, name)
