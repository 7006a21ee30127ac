"""Plain data becomes a dataclass only when every field is what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from models.fields import build


@dataclass(frozen=True)
class Inner:
    """What a caller converts first."""

    x: int = 0


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One field of each kind."""

    count: int = 1
    share: float | None = None
    kind: Literal["a", "b"] = "a"
    size: tuple[int, int] = (1, 1)
    range: tuple[float, float] | None = None
    inner: Inner = Inner()
    perhaps: Inner | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    anything: Any = None


@dataclass(frozen=True)
class Unknown:
    """A field of a type that nobody has taught `build`."""

    when: set[int]


@dataclass(frozen=True)
class Postponed:
    """A field whose type is words, as `from __future__ import annotations` makes all of them."""

    count: "int"


def test_each_kind_of_field_is_taken_as_it_is() -> None:
    inner = Inner(3)
    built = build(
        "whole",
        Whole,
        {"count": 2, "share": 1, "kind": "b", "size": [2, 3], "inner": inner, "facts": {"a": 1}},
    )
    assert built == Whole(count=2, share=1, kind="b", size=(2, 3), inner=inner, facts={"a": 1})
    assert build("whole", Whole, {"range": None, "share": None}) == Whole()
    assert build("whole", Whole, {"perhaps": {"x": 2}}).perhaps == Inner(2)
    assert build("whole", Whole, {"perhaps": None}).perhaps is None
    assert build("whole", Whole, {"anything": {1: [2]}}).anything == {1: [2]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"count": "2"}, "whole.count = '2' is not int"),
        ({"count": True}, "whole.count = True is not int"),
        ({"share": float("nan")}, "whole.share = nan is not"),
        ({"kind": "c"}, "whole.kind = 'c' is not one of a, b"),
        ({"kind": []}, r"whole.kind = \[\] is not one of a, b"),
        ({"size": [1]}, "whole.size has 1 entries, not 2"),
        ({"range": [1, "2"]}, "whole.range = "),
        ({"inner": {"x": 1}}, "whole.inner = {'x': 1} is not a table"),
        ({"facts": [1]}, r"whole.facts = \[1\] is not a table"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("whole", Whole, data)


@pytest.mark.parametrize(("kind", "data"), [(Unknown, {"when": {1}}), (Postponed, {"count": 1})])
def test_a_type_that_cannot_be_checked_is_never_passed_unchecked(
    kind: type[Any], data: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="cannot be checked"):
        build("it", kind, data)
