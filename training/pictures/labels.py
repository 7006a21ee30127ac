"""Which class each picture has: by its folder, a field of its metadata, or EDM's `dataset.json`.

Works on names and text alone; nothing is read here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.pictures.metadata import Fields

LABELS_FILE = "dataset.json"
_MOST_CLASSES = 100_000
Labels = tuple[list[int], tuple[str, ...]]  # the class of each picture; the classes' names


@dataclass(frozen=True)
class Naming:
    """How classes are told.

    Attributes:
        class_names: names in label order, which numbers mean; empty: the data's own.
        field: of the metadata, that names classes.
        known: classes that come first, a model's or another split's; they name no numbers.
    """

    class_names: tuple[str, ...] = ()
    field: str = "label"
    known: tuple[str, ...] = ()


def common_folder(names: list[str], pictures: list[str]) -> str:
    """The folder, with its slash, that wraps all class folders, as in many a zip; "" if none."""
    root = ""
    while pictures:
        rest = [name.removeprefix(root) for name in pictures]
        tops = {name.removeprefix(root).split("/")[0] for name in names if name != root[:-1]}
        # What lies right in the only folder makes it a class itself.
        if len(tops) != 1 or any(name.count("/") < 2 for name in rest):
            return root
        root += f"{tops.pop()}/"
    return root


def from_folders(names: list[str], folders: list[str], path: Path) -> Labels:
    """The outermost folder is the class; pictures in no folder have none.

    Raises:
        TrainingError: some have a folder and some have not, or a folder has no picture.
    """
    loose = [name for name in names if "/" not in name]
    tops = [name.split("/")[0] for name in names]
    empty = {folder.split("/")[0] for folder in folders} - {""} - set(tops)
    if empty:
        raise TrainingError(f"{path}: the class {min(empty)!r} has no pictures; remove its folder")
    if len(loose) == len(names):
        return [0] * len(names), ()
    if loose:
        raise TrainingError(
            f"{path} has pictures beside its class folders, for example {loose[0]}; move them "
            "into a class folder"
        )
    order = {name: label for label, name in enumerate(sorted(set(tops)))}
    return [order[top] for top in tops], tuple(order)


def from_fields(
    about: Sequence[Fields | None], path: Path, naming: Naming
) -> tuple[Labels, Mapping[int, str]] | None:
    """Labels from a field of the metadata; None where no picture has it.

    Numbers, also as text, are numbers of ``class_names``; any other text is a class's name.

    Returns:
        The labels, and for pictures that lack one why they cannot be used; theirs is 0.

    Raises:
        TrainingError: some labels are names and some are numbers, or a number is no class's.
    """
    field = naming.field
    values = [fields.get(field) if fields else None for fields in about]
    # Hugging Face's tables say -1 where there is no label.
    texts = ["" if value in (None, -1) else str(value).strip() for value in values]
    if not any(texts):
        return None
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise TrainingError(f"{path}: the {field} {value!r} is neither a number nor a name")
    without = {
        index: f"it has no {field}, which others have"
        for index, text in enumerate(texts)
        if not text
    }
    known = [text for text in texts if text]
    numbers = [text for text in known if text.isdecimal() and text.isascii()]
    if len(numbers) == len(known):
        found, classes = numbered([int(text or 0) for text in texts], path, naming)
        return (found, classes), without
    if numbers and not set(numbers) <= set(naming.class_names):
        other = next(text for text in known if text not in numbers)
        raise TrainingError(
            f"{path}: {field} is a number for some pictures ({numbers[0]}) and a name for others "
            f"({other!r}); make all of them the one or the other"
        )
    order = {name: label for label, name in enumerate(sorted(set(known)))}
    return ([order.get(text, 0) for text in texts], tuple(order)), without


def from_json(text: bytes, names: list[str], path: Path, naming: Naming) -> Labels:
    """Labels from EDM's `dataset.json`; null instead of the list means no classes.

    Raises:
        TrainingError: it is not of that form, or lacks one of the pictures.
    """
    try:
        labels = json.loads(text)["labels"]
        table: Mapping[str, Any] = {} if labels is None else dict(labels)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TrainingError(
            f'{path}: {LABELS_FILE} is not of the form {{"labels": [[name, label], ...]}}: '
            f"{error!r}"
        ) from error
    if not table:
        return [0] * len(names), ()
    found: list[int] = []
    for name in names:
        label = table.get(name)
        if not isinstance(label, int) or isinstance(label, bool) or label < 0:
            raise TrainingError(
                f"{path}: {LABELS_FILE} gives {name} the label {label!r}; expected 0, 1, ..."
            )
        found.append(label)
    return numbered(found, path, naming)


def numbered(labels: list[int], path: Path, naming: Naming) -> Labels:
    """Labels that are numbers already; their classes are named by number unless named.

    Raises:
        TrainingError: there are more numbers than names; or none is named, and the known classes
            are, so that they would become classes beside these.
    """
    highest = max(labels)
    if highest >= _MOST_CLASSES:
        raise TrainingError(f"{path} has label {highest}; at most {_MOST_CLASSES} classes are read")
    classes = naming.class_names or tuple(str(label) for label in range(highest + 1))
    if naming.known and not naming.class_names and not set(classes) & set(naming.known):
        raise TrainingError(
            f"{path} has its classes by number, 0 to {highest}, and the model's have names, "
            f"{naming.known[0]!r} the first: name those of the data in data.class_names"
        )
    if highest >= len(classes):
        raise TrainingError(
            f"{path} has label {highest}, but data.class_names names only {len(classes)}"
        )
    return labels, classes


def arranged(
    labels: Sequence[int],
    classes: tuple[str, ...],
    *,
    path: Path,
    naming: Naming,
    extend: bool,
) -> Labels:
    """The same labels in the order of the known classes, else of ``class_names``.

    Args:
        extend: whether the data may lack some of these classes, and have others, which come after.

    Raises:
        TrainingError: the data's classes are others, or two are the same but for upper case.
    """
    alike: dict[str, str] = {}
    for name in classes:
        if (other := alike.setdefault(name.casefold(), name)) != name:
            raise TrainingError(
                f"{path} has the classes {other!r} and {name!r}, which differ only in upper case, "
                "and a request could mean either; rename one, or make them one"
            )
    class_names = naming.known or naming.class_names
    if not class_names or not classes:
        return list(labels), classes
    if extend:
        known = {name.casefold(): name for name in class_names}
        classes = tuple(known.get(name.casefold(), name) for name in classes)
        class_names = (*class_names, *(name for name in classes if name not in class_names))
    elif set(class_names) != set(classes):
        odd = min(set(class_names) ^ set(classes))
        raise TrainingError(
            f"{path} has {len(classes)} classes, data.class_names names {len(class_names)}: "
            f"{odd!r} is in only one of them"
        )
    order = {name: label for label, name in enumerate(class_names)}
    return [order[classes[label]] for label in labels], class_names
