"""Which class each picture has: by its folder, by EDM's `dataset.json`, or by number.

Works on names alone; nothing is read here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import TrainingError

LABELS_FILE = "dataset.json"
Labels = tuple[list[int], tuple[str, ...]]  # the class of each picture; the classes' names


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


def from_folders(
    names: list[str], folders: list[str], path: Path, class_names: tuple[str, ...]
) -> Labels:
    """The outermost folder is the class; pictures in no folder have none.

    Raises:
        TrainingError: some have a folder and some have not, a folder has no picture, or the folders
            are not those that ``class_names`` orders.
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
    classes = sorted(set(tops))
    if class_names and set(class_names) != set(classes):
        odd = min(set(class_names) ^ set(classes))
        raise TrainingError(
            f"{path} has {len(classes)} class folders, data.class_names names {len(class_names)}: "
            f"{odd!r} is in only one of them"
        )
    order = {name: label for label, name in enumerate(class_names or classes)}
    return [order[top] for top in tops], tuple(order)


def from_json(text: bytes, names: list[str], path: Path, class_names: tuple[str, ...]) -> Labels:
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
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < 100_000:
            raise TrainingError(
                f"{path}: {LABELS_FILE} gives {name} the label {label!r}; expected 0, 1, ..."
            )
        found.append(label)
    return numbered(found, path, class_names)


def numbered(labels: list[int], path: Path, class_names: tuple[str, ...]) -> Labels:
    """Labels that are numbers already; their classes are named by number unless named.

    Raises:
        TrainingError: there are more numbers than names.
    """
    highest = max(labels)
    classes = class_names or tuple(str(label) for label in range(highest + 1))
    if highest >= len(classes):
        raise TrainingError(
            f"{path} has label {highest}, but data.class_names names only {len(classes)}"
        )
    return labels, classes
