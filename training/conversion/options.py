"""diffusers' JSON configurations as dataclasses; an option we cannot honour is refused by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from models.fields import build
from training.errors import TrainingError

T = TypeVar("T")


def read_json(path: Path) -> dict[str, Any]:
    """One of diffusers' JSON files; TrainingError when it is missing or no JSON object."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise TrainingError(f"{path} is not a JSON object")
    return data


def read_options(
    where: str, kind: type[T], data: Mapping[str, Any], supported: Mapping[str, Sequence[Any]]
) -> T:
    """Check a configuration against a dataclass and the values that we can honour.

    Args:
        where: the file, as messages call it.
        kind: diffusers' options with diffusers' defaults, which absent ones take.
        supported: per option, the values that mean what our code does.

    Raises:
        TrainingError: an unknown option, a value of the wrong type, or one we do not support.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    plain = {key: value for key, value in data.items() if not key.startswith("_")}
    for name in sorted(set(plain) - known):
        raise TrainingError(
            f"{where}: {name} = {short(plain[name])} is no option that Emaki knows; known: "
            f"{', '.join(sorted(known))}"
        )
    try:
        options: T = build(where, kind, plain)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    for name, values in supported.items():
        if getattr(options, name) not in values:
            raise unsupported(where, name, getattr(options, name), values)
    return options


def unsupported(where: str, name: str, value: object, supported: Sequence[Any]) -> TrainingError:
    """The refusal of one option: its name, its value and what would be taken."""
    values = ", ".join(
        json.dumps(item) if not isinstance(item, str) else item for item in supported
    )
    return TrainingError(f"{where}: {name} = {short(value)} is not supported; supported: {values}")


def short(value: object) -> str:
    """A value as JSON writes it, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
