"""What a data set says about each picture: Hugging Face's `metadata.jsonl` beside the pictures.

Each line is a JSON object with `file_name` and other fields; a template makes a caption of them.
Works on names and text alone; nothing is read here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from training.errors import TrainingError

METADATA = "metadata.jsonl"
_FIELD = re.compile(r"\{(\w+)\}")
_LONGEST = 2000


def captions_of(names: Sequence[str], metadata: Mapping[str, bytes], *, template: str) -> list[str]:
    """The caption of each picture.

    Args:
        names: the pictures', with their folders.
        metadata: the files of that name, by theirs; each speaks of the pictures below its folder.
        template: such as "{text}, {style}".

    Raises:
        TrainingError: there is none, it is broken, or it lacks a picture or a field.
    """
    if not metadata:
        raise TrainingError(f"no {METADATA} is beside the pictures; [text] needs captions")
    found: dict[str, str] = {}
    for where, content in metadata.items():
        folder = PurePosixPath(where).parent
        for number, line in enumerate(content.splitlines(), 1):
            if line.strip():
                name, caption = _read(f"{where}, line {number}", line, template)
                found[(folder / name).as_posix()] = caption
    missing = [name for name in names if name not in found]
    if missing:
        raise TrainingError(
            f"{METADATA} has no line for {missing[0]}, nor for {len(missing) - 1} other pictures"
        )
    return [found[name] for name in names]


def _read(where: str, line: bytes, template: str) -> tuple[str, str]:
    try:
        fields: Any = json.loads(line)
        name = fields["file_name"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TrainingError(f'{where} is not of the form {{"file_name": ..., ...}}') from error
    if not isinstance(name, str):
        raise TrainingError(f"{where}: file_name = {name!r} is no name")

    def field(match: re.Match[str]) -> str:
        value = fields.get(match[1])
        if not isinstance(value, str | int | float):
            raise TrainingError(f"{where} has no field {match[1]!r}, which text.caption names")
        return str(value)

    caption = _FIELD.sub(field, template)
    if len(caption) > _LONGEST:
        raise TrainingError(f"{where}: a caption of {len(caption)} characters is over {_LONGEST}")
    return name, caption
