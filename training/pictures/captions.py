"""A caption for each picture, made by a template of the fields that the data set has for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.errors import TrainingError
from training.pictures.metadata import Fields

_FIELD = re.compile(r"\{(\w+)\}")
_LONGEST = 2000


@dataclass(frozen=True)
class Caption:
    """What is said of a picture, and what is held out together with it."""

    text: str
    group: str


def captions_of(
    names: Sequence[str],
    about: Sequence[Fields | None],
    *,
    template: str,
    group: str | None = None,
) -> tuple[list[Caption], Mapping[int, str]]:
    """The caption of each picture.

    Args:
        names: what each is called in messages.
        about: its fields, in the same order; None: nothing is said of it.
        template: such as "{text}, {style}".
        group: another template; None: the caption.

    Returns:
        Captions, empty where there is none; and for those pictures why not.

    Raises:
        TrainingError: no picture has a caption, or one is too long.
    """
    found: list[Caption] = []
    without: dict[int, str] = {}
    for index, (name, fields) in enumerate(zip(names, about, strict=True)):
        try:
            caption = _filled(template, fields)
            together = caption if group is None else _filled(group, fields)
        except KeyError as error:
            without[index] = f"it has no {error.args[0]}, of which captions are made"
            caption = together = ""
        if len(caption) > _LONGEST:
            raise TrainingError(
                f"{name}: a caption of {len(caption)} characters is over {_LONGEST}"
            )
        found.append(Caption(caption, together))
    if len(without) == len(found):
        known = sorted({key for fields in about if fields for key in fields} - {"file_name"})
        raise TrainingError(
            f"[text] needs captions, and no picture has one: {names[0]}: {without[0]}; fields of "
            f"the data: {', '.join(known) or 'none; put a metadata.jsonl beside the pictures'}"
        )
    return found, without


def _filled(template: str, fields: Fields | None) -> str:
    """The template with its fields; KeyError says which there is not."""
    if fields is None:
        raise KeyError("line in a metadata file, nor a file of its own")

    def field(match: re.Match[str]) -> str:
        value = fields.get(match[1])
        if value is None or value == "" or not isinstance(value, str | int | float):
            raise KeyError(f"field {match[1]!r}")
        return str(value)

    return _FIELD.sub(field, template)
