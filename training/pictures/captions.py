"""What a data set says about each picture: Hugging Face's `metadata.jsonl` beside the pictures.

Each line is a JSON object with `file_name` and other fields; a template makes a caption of them.
Works on names and text alone; nothing is read here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from training.errors import TrainingError

METADATA = "metadata.jsonl"
_FIELD = re.compile(r"\{(\w+)\}")
_LONGEST = 2000


@dataclass(frozen=True)
class Caption:
    """What is said of a picture, and what is held out together with it."""

    text: str
    group: str


def captions_of(
    names: Sequence[str],
    metadata: Mapping[str, bytes],
    *,
    template: str,
    group: str | None = None,
) -> list[Caption]:
    """The caption of each picture.

    Args:
        names: the pictures', with their folders.
        metadata: the files of that name, by theirs; each speaks of the pictures below its folder.
        template: such as "{text}, {style}".
        group: another template; None: the caption.

    Raises:
        TrainingError: there is none, it is broken, or it lacks a picture or a field.
    """
    if not metadata:
        raise TrainingError(f"no {METADATA} is beside the pictures; [text] needs captions")
    found: dict[str, Caption] = {}
    for where, content in metadata.items():
        folder = PurePosixPath(where).parent
        for number, line in enumerate(content.splitlines(), 1):
            if line.strip():
                place = f"{where}, line {number}"
                name, fields = _read(place, line)
                caption = _filled(place, template, fields)
                together = caption if group is None else _filled(place, group, fields)
                found[(folder / name).as_posix()] = Caption(caption, together)
    missing = [name for name in names if name not in found]
    if missing:
        raise TrainingError(
            f"{METADATA} has no line for {missing[0]}, nor for {len(missing) - 1} other pictures"
        )
    return [found[name] for name in names]


def _read(where: str, line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        fields: Any = json.loads(line)
        name = fields["file_name"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TrainingError(f'{where} is not of the form {{"file_name": ..., ...}}') from error
    if not isinstance(name, str):
        raise TrainingError(f"{where}: file_name = {name!r} is no name")
    return name, fields


def _filled(where: str, template: str, fields: Mapping[str, Any]) -> str:
    def field(match: re.Match[str]) -> str:
        value = fields.get(match[1])
        if not isinstance(value, str | int | float):
            raise TrainingError(f"{where} has no field {match[1]!r}, which [text] names")
        return str(value)

    text = _FIELD.sub(field, template)
    if len(text) > _LONGEST:
        raise TrainingError(f"{where}: a caption of {len(text)} characters is over {_LONGEST}")
    return text
