"""Pictures that can be read one by one, whatever they are stored as."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from training.pictures.decode import Unreadable
from training.pictures.metadata import Fields

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HELD_OUT = ("test", "val", "valid", "validation")  # the first of them is the test split


@dataclass(frozen=True, kw_only=True)
class Source:
    """A split's pictures, none of them read yet.

    Attributes:
        names: what each picture is called in messages.
        labels: the class of each; all zero without classes.
        classes: names in label order; empty: no classes.
        fingerprint: changes whenever the files do.
        read: picture i's file, or its pixels (H, W) where they are stored plain; raises Unreadable.
        others: files that are passed over, because their suffix is no picture's.
        whole: of each picture, whether it is in no split: `training.pictures.holdout` says whether
            it is kept out of training then.
        about: what is said of each; empty: nothing of any.
        unusable: why some cannot be used, although their files may be whole.
        groups: what pictures are held out together by, where not each by itself.
        weights: how often each is shown for once that others are; empty: all alike.
        remarks: what a person should know of the whole, in words.
    """

    names: Sequence[str]
    labels: Sequence[int]
    classes: tuple[str, ...]
    fingerprint: str
    read: Callable[[int], Any]
    whole: Sequence[bool]
    others: Sequence[str] = ()
    about: Sequence[Fields | None] = ()
    unusable: Mapping[int, str] = field(default_factory=dict)
    groups: Sequence[str] = ()
    weights: Sequence[float] = ()
    remarks: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    def data(self, index: int) -> Any:
        """What ``read`` gives; Unreadable also where the picture cannot be used."""
        if index in self.unusable:
            raise Unreadable(self.unusable[index])
        return self.read(index)

    def only(self, chosen: Sequence[int]) -> "Source":
        """Some of the pictures, in this order."""
        return replace(
            self,
            names=[self.names[index] for index in chosen],
            labels=[self.labels[index] for index in chosen],
            fingerprint=hashlib.sha256(f"{self.fingerprint} {list(chosen)}".encode()).hexdigest(),
            whole=[self.whole[index] for index in chosen],
            about=[self.about[index] for index in chosen] if self.about else (),
            groups=[self.groups[index] for index in chosen] if self.groups else (),
            weights=[self.weights[index] for index in chosen] if self.weights else (),
            unusable={
                place: self.unusable[index]
                for place, index in enumerate(chosen)
                if index in self.unusable
            },
            read=lambda index: self.read(chosen[index]),
        )
