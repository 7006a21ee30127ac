"""One look at every picture of a data set: what training would see of it, and what is odd.

Every file is read and decoded once, in threads.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from training.errors import TrainingError
from training.pictures.cache import bombs_are_errors
from training.pictures.captions import captions_of
from training.pictures.data import captioned
from training.pictures.decode import Unreadable, open_picture, plain
from training.pictures.holdout import grouped, held_out, is_low
from training.pictures.labels import Naming
from training.pictures.mixture import Asked, open_all
from training.pictures.source import Source, Split
from training.survey.duplicates import can_hash, nearly_same, perceptual_hash, same

_AT_ONCE = 32
_NOT_LOOKED = "near duplicates were not looked for: pip install 'emaki[check]'"
_CAPTIONS = ("text", "caption", "prompt")  # fields that are, as data sets call them


@dataclass(frozen=True)
class Seen:
    """One picture: where it belongs, and what it is.

    Attributes:
        size: (height, width) in pixels.
        kind: "grey", "colour", or either "with transparency".
    """

    name: str
    split: Split
    label: int
    size: tuple[int, int]
    kind: str


@dataclass(frozen=True)
class Survey:
    """What a data set holds.

    Attributes:
        held_out: the share that is held out, where it has no test split; else 0.
        rejected: names of files that cannot be used, and why.
        same, nearly: groups of indices into ``seen``; nearly is None where it was not asked for.
        captions: of each picture of ``seen``, "" where it has none; empty: there are none.
        picture: reads one of ``seen`` again.
    """

    seen: Sequence[Seen]
    classes: tuple[str, ...]
    held_out: float
    rejected: Sequence[tuple[str, str]]
    passed_over: Sequence[str]
    remarks: Sequence[str]
    same: Sequence[Sequence[int]]
    nearly: Sequence[Sequence[int]] | None
    captions: Sequence[str]
    picture: Callable[[int], Image.Image]


@dataclass(frozen=True)
class _One:
    size: tuple[int, int]
    kind: str
    digest: bytes
    low: bool
    hashed: int


def survey(
    asked: Sequence[Asked],
    *,
    naming: Naming,
    hold_out: float,
    caption: str | None = None,
    near: bool = True,
) -> Survey:
    """Look at all pictures of all splits.

    Args:
        hold_out: share that training would hold out, where the data has no test split.
        caption: a template of the metadata's fields; None: the field that is called so.
        near: whether to look for near duplicates, where imagehash is installed.

    Raises:
        TrainingError: as training would, for what it would not begin with.
    """
    missing = near and not can_hash()
    near = near and not missing
    train = open_all(asked, split="train", naming=naming)
    parts: list[tuple[Split, Source]] = [("train", train)]
    if not all(train.whole):
        test = open_all(
            asked, split="test", naming=replace(naming, known=train.classes), extend=True
        )
        own = test.only([index for index in range(len(test)) if not test.whole[index]])
        parts.append(("test", own))
    seen: list[Seen] = []
    places: list[tuple[Source, int]] = []
    found: list[_One] = []
    rejected: list[tuple[str, str]] = []
    for split, source in parts:
        told = source if caption is None else captioned(source, caption, None)[0]
        looks = _look_at_all(told, share=hold_out, near=near)
        low = [not isinstance(one, str) and one.low for one in looks]
        kept_out = held_out(told, low) if split == "train" else set()
        for index, one in enumerate(looks):
            if isinstance(one, str):
                rejected.append((source.names[index], one))
                continue
            part: Split = "test" if index in kept_out else split
            seen.append(Seen(source.names[index], part, source.labels[index], one.size, one.kind))
            places.append((source, index))
            found.append(one)
    hashes = np.array([one.hashed for one in found], dtype=np.uint64)
    return Survey(
        seen=seen,
        classes=max((source.classes for _, source in parts), key=len),
        held_out=hold_out if any(train.whole) else 0.0,
        rejected=rejected,
        passed_over=[name for _, source in parts for name in source.others],
        remarks=[
            *dict.fromkeys(remark for _, source in parts for remark in source.remarks),
            *([_NOT_LOOKED] if missing else []),
        ],
        same=same([one.digest for one in found]),
        nearly=nearly_same(hashes) if near else None,
        captions=_captions(places, caption),
        picture=lambda index: plain(_opened(places[index][0].read(places[index][1]))),
    )


def _look_at_all(source: Source, *, share: float, near: bool) -> list[_One | str]:
    """Each picture, or why it cannot be used."""

    def look(index: int) -> _One | str:
        try:
            data = source.data(index)
            image = _opened(data)
            return _One(
                size=(image.height, image.width),
                kind=_kind(image),
                digest=hashlib.sha256(data).digest(),
                low=is_low(grouped(source, index) or data, share),
                hashed=perceptual_hash(plain(image)) if near else 0,
            )
        except Unreadable as error:
            return str(error)

    def look_at_some(start: int) -> list[_One | str]:
        return [look(index) for index in range(start, min(start + _AT_ONCE, len(source)))]

    with bombs_are_errors(), ThreadPoolExecutor(os.cpu_count()) as pool:
        some = pool.map(look_at_some, range(0, len(source), _AT_ONCE))
        return [one for part in some for one in part]


def _opened(data: Any) -> Image.Image:
    return open_picture(data) if isinstance(data, bytes) else Image.fromarray(data)


def _kind(image: Image.Image) -> str:
    grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F"))
    transparent = " with transparency" if image.has_transparency_data else ""
    return ("grey" if grey else "colour") + transparent


def _captions(places: Sequence[tuple[Source, int]], template: str | None) -> list[str]:
    about = [source.about[index] if source.about else None for source, index in places]
    asked = template is not None
    if template is None:
        known = {key for fields in about if fields for key in fields}
        field = next((name for name in _CAPTIONS if name in known), None)
        if field is None:
            return []
        template = f"{{{field}}}"
    names = [source.names[index] for source, index in places]
    try:
        captions, _ = captions_of(names, about, template=template)
    except TrainingError:
        if asked:
            raise
        return []  # what is no caption is a field like others
    return [caption.text for caption in captions]
