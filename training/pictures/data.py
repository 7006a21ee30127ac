"""Training pictures, whatever they are stored as: decoded once, mapped as uint8, checked first.

Shapes: N pictures of (C, H, W).
"""

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.manifest import Manifest
from training.errors import NoTestPictures, TrainingError
from training.pictures.cache import decoded
from training.pictures.captions import captions_of
from training.pictures.decode import Resize
from training.pictures.labels import Naming
from training.pictures.mixture import Asked, open_all
from training.pictures.source import Source, Split

HOLD_OUT = 0.1  # of data without a test split


@dataclass(frozen=True)
class Pictures:
    """A data set, labelled where it has classes.

    Attributes:
        images: (N, C, H, W) uint8, mapped from disk.
        labels: (N,) int64 in [0, len(classes)); zeros where there are no classes.
        classes: names in label order.
        fingerprint: sha256 over pixels and labels; the same data has the same one everywhere.
        unreadable: files that were left out because they could not be read.
        held_out: share of the data that is kept out of training, where it has no test split of its
            own; else 0.
        own_split: whether some of the data has a test split of its own.
        captions: each once; where there are some, ``labels`` says which is each picture's, and
            there are no classes.
        weights: (N,) how often each is shown for once that others are; None: all alike.
        rejects: the file that names what could not be read; None: everything could.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    unreadable: int = 0
    held_out: float = 0.0
    own_split: bool = False
    captions: tuple[str, ...] = ()
    weights: npt.NDArray[np.float64] | None = None
    rejects: Path | None = None

    def __len__(self) -> int:
        return len(self.images)


def load_pictures(
    path: Path | Sequence[Asked],
    *,
    split: Split = "train",
    size: tuple[int, int],
    channels: int,
    class_names: tuple[str, ...] = (),
    label: str = "label",
    known: tuple[str, ...] = (),
    extend: bool = False,
    resize: Resize = "crop",
    hold_out: float = HOLD_OUT,
    caption: str | None = None,
    caption_group: str | None = None,
    quiet: bool = False,
) -> Pictures:
    """Load a split of a data set; see `training.pictures.sources` for the layouts.

    Args:
        size: (height, width) in pixels; pictures of another size are resized.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        path: a data set, or several with their weights.
        class_names: names in label order; empty: the data's own.
        label: the field of the data's metadata that names classes.
        known: classes that come first; unlike ``class_names`` they are not what numbers mean.
        extend: whether the data may lack some of these classes, and have others, which come
            after; the test split's pictures of others are left out, for nothing knows them.
        hold_out: share that is kept out of training where the data has no test split, and is the
            test split then; 0: all is trained on, and there is no test split.
        caption: a template for captions of the metadata's fields, which take the classes' place;
            None: there are no captions.
        caption_group: what is held out together; None: pictures with the same caption.
        quiet: say nothing of what was decoded or left out.

    Raises:
        TrainingError: missing, damaged, or not what ``class_names`` says.
        NoTestPictures: the test split is wanted, and there is none.
    """
    asked = (Asked(path),) if isinstance(path, Path) else tuple(path)
    where = " and ".join(str(one.path) for one in asked)
    naming = Naming(class_names, label, known)
    source = open_all(asked, split=split, naming=naming, extend=extend)
    say = _silence if quiet else _say
    if split == "test" and known:
        source = _of_known(source, known, where)
    captions: tuple[str, ...] = ()
    if caption is not None:
        source, captions = captioned(source, caption, caption_group)
    for remark in source.remarks:
        say(f"warning: {remark}")
    if source.others:
        say(
            f"{len(source.others)} files in {where} have no picture's suffix and are passed over, "
            f"for example {source.others[0]}"
        )
    held_out = hold_out if any(source.whole) else 0.0
    if all(source.whole) and not held_out and split == "test":
        one = asked[0].path
        raise NoTestPictures(
            f"{where} has no test pictures, and none were held out: put some into the folders "
            f"train and test in it, or into {one.stem}-test{one.suffix} beside "
            f"{one.stem}-train{one.suffix}"
        )
    if split == "test" and not hold_out:
        source = source.only([index for index in range(len(source)) if not source.whole[index]])
    cached = decoded(
        source,
        split=split,
        held_out=held_out,
        size=size,
        channels=channels,
        resize=resize,
        say=say,
    )
    if cached.unreadable:
        say(
            f"{cached.unreadable} of {len(source.names)} files in {where} cannot be read and are "
            f"left out; {cached.report} names them"
        )
    if split == "train":
        _look_at_classes(source.classes, cached.labels, where, may_lack=extend, say=say)
    fingerprint = cached.fingerprint
    if captions:
        said = "\n".join([fingerprint, *captions])
        fingerprint = hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()
    return Pictures(
        cached.images,
        cached.labels,
        source.classes,
        fingerprint,
        cached.unreadable,
        held_out,
        not all(source.whole),
        captions,
        cached.weights,
        cached.report if cached.unreadable else None,
    )


def _look_at_classes(
    classes: tuple[str, ...],
    labels: npt.NDArray[np.int64],
    where: str,
    *,
    may_lack: bool,
    say: Callable[[str], None],
) -> None:
    """Refuse a class without pictures to train on; say which have only one."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    few = {
        number: [name for label, name in enumerate(classes) if counts[label] == number]
        for number in (0, 1)
    }
    if few[0] and not may_lack:
        raise TrainingError(
            f"{where}: the class {few[0][0]!r} has no pictures; remove it from data.class_names, "
            "or add some"
        )
    if few[1]:
        say(
            f"warning: {len(few[1])} classes in {where} have one picture each, {few[1][0]!r} for "
            "one: it will be copied rather than learned"
        )


def _of_known(source: Source, known: tuple[str, ...], where: str) -> Source:
    """The pictures of classes that are trained on, and a remark of the others."""
    others = source.classes[len(known) :]
    if not others:
        return source
    chosen = [index for index, label in enumerate(source.labels) if label < len(known)]
    if not chosen:
        raise NoTestPictures(f"{where} has test pictures of no class that is trained on")
    remark = (
        f"{len(source) - len(chosen)} test pictures in {where} are left out: nothing is trained "
        f"on that has their class, {', '.join(others[:3])}"
    )
    source = dataclasses.replace(source.only(chosen), classes=known)
    return dataclasses.replace(source, remarks=[*source.remarks, remark])


def captioned(source: Source, template: str, group: str | None) -> tuple[Source, tuple[str, ...]]:
    """The source with captions for labels, and the captions in label order."""
    about = source.about or [None] * len(source)
    each, without = captions_of(source.names, about, template=template, group=group)
    said = {caption.text for index, caption in enumerate(each) if index not in without}
    captions = tuple(sorted(said))
    order = {caption: label for label, caption in enumerate(captions)}
    groups = [caption.group for caption in each]
    text = "\n".join([source.fingerprint, *groups])
    captioned = dataclasses.replace(
        source,
        labels=[order.get(caption.text, 0) for caption in each],
        classes=(),
        fingerprint=hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(),
        groups=groups,
        unusable=without,  # what lacks only a class has a caption
    )
    return captioned, captions


def load_alike(path: Path | Sequence[Asked], manifest: Manifest, *, split: Split) -> Pictures:
    """Load a split as the model's own were: size, channels, classes, captions, resizing, hold-out.

    What the manifest does not say was held out was not: a model of before there was a hold-out has
    seen everything.

    Raises:
        TrainingError: as `load_pictures`.
    """
    trained = manifest.training.get("data", {})
    config = manifest.training.get("config", {})
    asked, told = config.get("data", {}), config.get("text") or {}
    channels, height, width = manifest.picture_shape
    return load_pictures(
        path,
        split=split,
        size=(height, width),
        channels=channels,
        class_names=tuple(asked.get("class_names", manifest.classes)),
        known=manifest.classes,
        label=asked.get("label", "label"),
        extend=split == "test" or has_grown(manifest),
        resize="squash" if trained.get("resize") == "squash" else "crop",
        caption=told.get("caption"),
        caption_group=told.get("group"),
        hold_out=float(trained.get("held_out", 0)),
    )


def has_grown(manifest: Manifest) -> bool:
    """Whether a model's data may lack some of its classes.

    It may where the model began from another, or went on with other pictures.
    """
    facts = manifest.training
    changes = facts.get("data", {}).get("changes", [])
    return "lineage" in facts or any(one["added"] or one["removed"] for one in changes)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silence(_text: str) -> None:
    """For all but the first of several processes."""
