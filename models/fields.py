"""Dataclasses from plain data (JSON, TOML), checked field by field without a library.

Knows scalars, choices among words, tuples of scalars, and some of these that may be left out
(None). A dataclass that may be left out is built of its table in turn. Other mappings, dataclasses
and tuples of them are the caller's to convert; only that they are such is checked.
``Any`` says in so many words that the caller checks a field. One of any other type is a mistake in
the program, and said to be one: never passed unchecked.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

_SCALARS: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    bool: (bool,),
}


def build(where: str, kind: type[Any], data: object) -> Any:
    """Make a dataclass of a mapping.

    Args:
        where: what the data is called in messages.

    Raises:
        ValueError: not a mapping, an unknown or missing field, or a value of the wrong type; also
            whatever ValueError the dataclass itself raises.
        TypeError: the dataclass has a field of a type that cannot be checked here.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not a table of fields")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"{where} has an unknown field {unknown[0]!r}; known: {', '.join(fields)}")
    missing = [
        name
        for name, f in fields.items()
        if name not in data
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where} lacks the field {missing[0]!r}")
    return kind(**{key: _value(where, fields[key], value) for key, value in data.items()})


def _value(where: str, target: "dataclasses.Field[Any]", value: object) -> object:
    expected: Any = target.type
    name = f"{where}.{target.name}"
    if _is_optional(expected):
        if value is None:
            return None
        (expected,) = (kind for kind in get_args(expected) if kind is not type(None))
        if dataclasses.is_dataclass(expected) and isinstance(value, dict):
            return build(name, expected, value)  # type: ignore[arg-type]  # a class, not one of it
    return _checked(name, expected, value)


def _checked(name: str, expected: Any, value: object) -> object:
    if expected in _SCALARS:
        if not _is(value, _SCALARS[expected]):
            wanted = " or ".join(kind.__name__ for kind in _SCALARS[expected])
            raise ValueError(f"{name} = {value!r} is not {wanted}")
    elif get_origin(expected) is tuple:
        return _tuple(name, get_args(expected), value)
    elif get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(get_args(expected))}")
    elif get_origin(expected) is Mapping or dataclasses.is_dataclass(expected):
        if not isinstance(value, get_origin(expected) or expected):
            raise ValueError(f"{name} = {value!r} is not a table of fields")
    elif expected is not Any:
        raise TypeError(
            f"{name}: a field of type {expected!r} cannot be checked; teach it to build"
        )
    return value


def _tuple(name: str, kinds: tuple[Any, ...], value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} = {value!r} is not a list of {kinds[0].__name__}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError(f"{name} has {len(value)} entries, not {len(kinds)}")
    return tuple(_checked(name, kind, item) for kind, item in zip(kinds, value, strict=True))


def _is_optional(expected: Any) -> bool:
    return type(None) in get_args(expected)


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds)
