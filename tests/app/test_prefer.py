"""`Prefer` and `Accept`, as clients write them."""

import pytest

from app.prefer import Preferences, wants_png


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("wait=10", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("wait=10; foo=bar", 10),
        ("wait=0", 0),
        ("wait=61", 60),
        ("wait=99999999999999999999", 60),
        ("wait", 60),
        ("wait=", 60),
        ("wait; foo", 60),
        ("wait=5, wait=7", 5),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=²", None),
        ("awaiting=3", None),
    ],
)
def test_wait(header: str, seconds: int | None) -> None:
    assert Preferences.parse(header).wait == seconds


@pytest.mark.parametrize(
    ("header", "applied"),
    [
        ("", {}),
        ("respond-async", {}),
        ("urls=relative", {}),
        ("wait", {"Preference-Applied": "wait=60"}),
        ("urls=absolute", {"Preference-Applied": "urls=absolute"}),
        ('URLs="Absolute", wait=3', {"Preference-Applied": "wait=3, urls=absolute"}),
    ],
)
def test_what_is_done_of_it_is_said(header: str, applied: dict[str, str]) -> None:
    assert Preferences.parse(header).applied == applied


@pytest.mark.parametrize(
    ("header", "png"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("image/png", True),
        ("image/png, */*", True),
        ("IMAGE/PNG", True),
        ("image/png;q=0.5, application/json;q=0.4", True),
        ("image/png;q=0.4, application/json", False),
        ("image/png;q=0", False),
        ("image/png;q=high", False),
        ("image/webp, image/*", False),
    ],
)
def test_accept(header: str | None, png: bool) -> None:
    assert wants_png(header) is png
