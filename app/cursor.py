"""The opaque cursor of a list: where in an owner's list a page ended, and whose that is."""

import base64
import binascii
import hashlib
import re
from typing import Annotated

from fastapi import Query

from app.exceptions import InvalidField

_MARK_DIGITS = 12
HISTORY = re.compile(r"[0-9a-f]{48}")
DEAD = re.compile(r"\d{1,12}(\.\d{1,9})? [\w.-]{1,80}")
Asked = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before.")
]


def encode(place: str, owner: str) -> str:
    """A place in a list as a client sees it."""
    return base64.urlsafe_b64encode((_mark(place, owner) + place).encode()).decode()


def decode(cursor: str, owner: str, form: re.Pattern[str]) -> str:
    """The place that a cursor stands for; ``form``: of this list's places.

    Raises:
        InvalidField: this server gave no such cursor, or not to this owner.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
    except (binascii.Error, UnicodeError):
        text = ""
    mark, place = text[:_MARK_DIGITS], text[_MARK_DIGITS:]
    if not form.fullmatch(place):
        raise InvalidField(
            "cursor", f"{cursor[:60]!r} is no cursor; send a page's `next_cursor`, or none"
        )
    if mark != _mark(place, owner):
        raise InvalidField(
            "cursor",
            f"{cursor[:60]!r} is of another API key's list; begin your own without a cursor",
        )
    return place


def _mark(place: str, owner: str) -> str:
    """Tells owners apart, and does not say who they are."""
    return hashlib.sha256(f"{owner}:{place}".encode()).hexdigest()[:_MARK_DIGITS]
