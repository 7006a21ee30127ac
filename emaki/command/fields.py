"""One option for each field of the API, whatever fields it has: made from `wire.schemas`."""

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from emaki.asked import Fields
from wire.schemas import GenerationRequest

F = TypeVar("F", bound=Callable[..., Any])
_COUNTED = "batch"  # `-n` pictures are as many requests as they need
_PANEL = "Fields of the API"


def with_fields(command: F) -> F:
    """Give a command that takes ``**fields`` an option for each."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _options().items()
    ]
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return command


def parsed(given: dict[str, str | None]) -> Fields:
    """The options that were given, as values: JSON where the field takes that, else text."""
    return {
        info.alias or name: _value(info, text)
        for name, info in GenerationRequest.model_fields.items()
        if (text := given.get(name)) is not None
    }


def _options() -> dict[str, Any]:
    """By the field's name in Python."""
    found = {}
    for name, info in GenerationRequest.model_fields.items():
        if name == _COUNTED:
            continue
        flag = "--" + (info.alias or name).replace("_", "-")
        option = typer.Option(
            flag,
            help=(info.description or "").replace("`", ""),
            rich_help_panel=_PANEL,
            metavar="VALUE",
        )
        found[name] = Annotated[str | None, option]
    return found


def _value(info: FieldInfo, text: str) -> object:
    """What the text means; what means nothing is for the model or the service to refuse."""
    annotation: Any = info.annotation
    kind: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        value: object = json.loads(text)
        kind.validate_python(value, strict=True)
    except (ValueError, ValidationError):
        return text
    return value
