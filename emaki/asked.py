"""What a person asks for, as requests of the API: one place for `load(...)`, clients and command.

Fields pass through by their names, whatever they are: which there are is `wire.schemas`' to say, so
a new field of the API needs nothing here. Known are only the ones that have other names in Python,
and those that may be lists of one entry a picture.
"""

import base64
import io
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from emaki.errors import CannotDraw
from wire.schemas import MAX_BATCH, MAX_SEED, ModelCard

_CHOSEN_SEEDS = 2**53  # what JavaScript's numbers hold exactly
_PER_PICTURE = ("class", "prompt")
_TYPES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}

Fields = dict[str, Any]


def fields_of(what: object, card: ModelCard | None, given: Mapping[str, Any]) -> Fields:
    """Keywords as fields of the API: `class_` is `class`; pictures and their files are sent.

    Args:
        what: a class where the model draws classes, a prompt where it draws from words.
        card: of the model that is to draw; needed only for ``what``.

    Raises:
        CannotDraw: it is said twice, or a picture is none.
    """
    fields = {name.rstrip("_"): _sent(value) for name, value in given.items()}
    if what is not None:
        words = card is not None and card.conditioning == "text"
        name = "prompt" if words else "class"
        if fields.get(name) is not None:
            raise CannotDraw(f"{what!r} and {name} {fields[name]!r} say it twice; leave one out")
        fields[name] = what
    return fields


def batches(fields: Fields, n: int) -> Iterator[Fields]:
    """Requests for ``n`` pictures in all, of at most a batch each; picture i has seed + i.

    Raises:
        CannotDraw: no such number of pictures, or a list that is not of this length.
    """
    if n < 1:
        raise CannotDraw(f"{n} pictures cannot be drawn; ask for 1 or more")
    fields = with_seed(fields, n)
    for name in _PER_PICTURE:
        value = fields.get(name)
        if isinstance(value, list | tuple) and len(value) != n:
            raise CannotDraw(f"{name} lists {len(value)} entries for {n} pictures; give one each")
    for first in range(0, n, MAX_BATCH):
        yield part(fields, first, min(MAX_BATCH, n - first))


def with_seed(fields: Fields, n: int) -> Fields:
    """The fields with their seeds, chosen where none were given: parts have consecutive ones."""
    wanted = ["seed", *(["variation_seed"] if fields.get("variation_strength") else [])]
    lacking = [name for name in wanted if fields.get(name) is None]
    return {**fields, **{name: secrets.randbelow(_CHOSEN_SEEDS - n) for name in lacking}}


def part(fields: Fields, first: int, count: int) -> Fields:
    """The request for pictures ``first`` ... of what was asked for, which has a seed.

    Raises:
        CannotDraw: there are no such seeds.
    """
    begin = {
        name: fields[name] + first
        for name in ("seed", "variation_seed")
        if isinstance(fields.get(name), int)  # anything else is for the schema to refuse
    }
    for name, start in begin.items():
        if (last := start + count - 1) > MAX_SEED:
            raise CannotDraw(
                f"the last picture's {name}, {last}, is above {MAX_SEED}; take a lower one"
            )
    mine = {
        name: list(fields[name][first : first + count])
        for name in _PER_PICTURE
        if isinstance(fields.get(name), list | tuple)
    }
    return {**fields, **mine, **begin, "batch": count}


def _sent(value: object) -> object:
    """Pictures and files as `data:` URIs, everything else as it is."""
    if isinstance(value, Path):
        value = value.read_bytes()
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        value = buffer.getvalue()
    if not isinstance(value, bytes):
        return value
    kind = next((kind for start, kind in _TYPES.items() if value.startswith(start)), None)
    if kind is None:
        raise CannotDraw("a picture is PNG, JPEG or WebP; this is none of them")
    return f"data:image/{kind};base64,{base64.b64encode(value).decode()}"
