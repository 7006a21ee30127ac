"""Dataclasses from plain data (JSON, TOML), checked field by field without a library.

Knows scalars, choices among words, tuples of scalars, and some of these that may be left out
(None), and dataclasses that may be left out. Other mappings and dataclasses are the caller's to
convert; only that they are such is checked.
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
    float | None: (int, float, type(None)),
    str: (str,),
    bool: (bool,),
    bool | None: (bool, type(None)),
    int | None: (int, type(None)),
    str | None: (str, type(None)),
}
_TUPLES: dict[Any, tuple[tuple[type, ...], int | None]] = {
    tuple[int, int]: ((int,), 2),
    tuple[float, float]: ((int, float), 2),
    tuple[float, float] | None: ((int, float), 2),
    tuple[int, ...]: ((int,), None),
    tuple[float, ...]: ((int, float), None),
    tuple[bool, ...]: ((bool,), None),
    tuple[str, ...]: ((str,), None),
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
    if expected in _SCALARS:
        if not _is(value, _SCALARS[expected]):
            wanted = " or ".join(kind.__name__ for kind in _SCALARS[expected])
            raise ValueError(f"{name} = {value!r} is not {wanted}")
    elif expected in _TUPLES:
        return None if value is None and _is_optional(expected) else _tuple(name, expected, value)
    elif get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(get_args(expected))}")
    elif _is_optional(expected) and dataclasses.is_dataclass(get_args(expected)[0]):
        kind = get_args(expected)[0]
        return value if value is None or isinstance(value, kind) else build(name, kind, value)
    elif get_origin(expected) is Mapping or dataclasses.is_dataclass(expected):
        if not isinstance(value, get_origin(expected) or expected):
            raise ValueError(f"{name} = {value!r} is not a table of fields")
    elif expected is not Any:
        raise TypeError(
            f"{name}: a field of type {expected!r} cannot be checked; teach it to build"
        )
    return value


def _tuple(name: str, expected: Any, value: object) -> tuple[object, ...]:
    kinds, length = _TUPLES[expected]
    if not isinstance(value, list | tuple) or not all(_is(item, kinds) for item in value):
        raise ValueError(f"{name} = {value!r} is not a list of {kinds[-1].__name__}")
    if length is not None and len(value) != length:
        raise ValueError(f"{name} has {len(value)} entries, not {length}")
    return tuple(value)


def _is_optional(expected: Any) -> bool:
    return type(None) in get_args(expected)


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds)
