"""What a data set says about each picture, in files beside the pictures.

    metadata.jsonl, metadata.csv   Hugging Face's imagefolder: a line for each, by `file_name`
    x.txt, x.cls, x.json           WebDataset's: of the picture x.png; fields text, label and others

Works on names and bytes alone; which fields are labels or captions is not known here.
"""

import csv
import io
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from training.errors import TrainingError

Fields = Mapping[str, Any]
METADATA = ("metadata.jsonl", "metadata.csv")
_SIDECARS = {"txt": "text", "cls": "label", "json": None}


def is_metadata(name: str) -> bool:
    """Whether a file speaks of all pictures below its folder."""
    return PurePosixPath(name).name in METADATA


def sidecars_of(pictures: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """The files that speak of one picture each, and which.

    Raises:
        TrainingError: one could speak of two pictures.
    """
    keys: dict[str, list[str]] = {}
    for name in pictures:
        for key in {_key(name, last=True), _key(name, last=False)}:
            keys.setdefault(key, []).append(name)
    found: dict[str, str] = {}
    for name in others:
        of = keys.get(_key(name, last=True), [])
        if of and name.rpartition(".")[2].lower() in _SIDECARS:
            if len(of) > 1:
                raise TrainingError(
                    f"{name} could speak of {of[0]} and of {of[1]}; keep one picture of that name"
                )
            found[name] = of[0]
    return found


def _key(name: str, *, last: bool) -> str:
    """A name up to its last dot; or up to its file name's first, which is WebDataset's key."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] if last else file.partition('.')[0]}"


def fields_of(
    pictures: Sequence[str],
    metadata: Sequence[str],
    sidecars: Mapping[str, str],
    read: Callable[[str], bytes],
    *,
    there: Container[str],
) -> tuple[list[Fields | None], list[str]]:
    """What is said of each picture (None: nothing), and remarks in words.

    Args:
        there: all files that there are, of other splits too.

    Raises:
        TrainingError: a file is not of its form.
    """
    beside: dict[str, dict[str, Any]] = {}
    for name, picture in sidecars.items():
        beside.setdefault(picture, {}).update(_sidecar(name, read(name)))
    lines: dict[str, Fields] = {}
    differ: dict[str, str] = {}
    for where in metadata:
        folder = PurePosixPath(where).parent
        parse = _csv if where.endswith(".csv") else _jsonl
        for name, fields in parse(where, read(where)):
            picture = (folder / name).as_posix()
            before = lines.get(picture, {})
            if any(str(before.get(key, value)) != str(value) for key, value in fields.items()):
                differ[picture] = where
            lines[picture] = {**before, **fields}
    said: list[Fields | None] = []
    for name in pictures:
        own, line = beside.get(name), lines.get(name)
        said.append(None if own is None and line is None else {**(own or {}), **(line or {})})
    absent = sorted(name for name in lines if name not in there)
    remarks = []
    if absent:
        remarks.append(
            f"{metadata[0]} speaks of {len(absent)} pictures that are not there, for example "
            f"{absent[0]}"
        )
    if differ:
        picture, where = next(iter(differ.items()))
        remarks.append(
            f"{len(differ)} pictures have several lines that say different things, of which the "
            f"last counts, for example {picture} in {where}"
        )
    return said, remarks


def _sidecar(name: str, content: bytes) -> Fields:
    kind = name.rpartition(".")[2].lower()
    try:
        if kind != "json":
            return {str(_SIDECARS[kind]): content.decode().strip()}
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{name} is not {'JSON' if kind == 'json' else 'text'}: {error}") from (
            error
        )
    return fields if isinstance(fields, dict) else {}


def _jsonl(where: str, content: bytes) -> Iterator[tuple[str, Fields]]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            place = f"{where}, line {number}"
            try:
                fields: Any = json.loads(line)
                name = fields["file_name"]
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise TrainingError(
                    f'{place} is not of the form {{"file_name": ..., ...}}'
                ) from error
            if not isinstance(name, str):
                raise TrainingError(f"{place}: file_name = {name!r} is no name")
            yield name, fields


def _csv(where: str, content: bytes) -> Iterator[tuple[str, Fields]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{where} is not UTF-8: {error}; save it as UTF-8") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in rows:
            if not row.get("file_name"):
                raise TrainingError(
                    f"{where}, line {rows.line_num} has no file_name; its columns are "
                    f"{', '.join(rows.fieldnames or ())}"
                )
            yield row["file_name"], {key: value or None for key, value in row.items() if key}
    except csv.Error as error:
        raise TrainingError(f"{where}, line {rows.line_num} is not CSV: {error}") from error
