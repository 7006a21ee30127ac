"""The opaque cursor of a list: where in an owner's history a page ended, and whose that is."""

import base64
import binascii
import hashlib
import re

from app.exceptions import InvalidField

_MEMBER = re.compile(r"[0-9a-f]{48}")
_MARK_DIGITS = 12


def encode(member: str, owner: str) -> str:
    """A history member as a client sees it."""
    return base64.urlsafe_b64encode(bytes.fromhex(member + _mark(member, owner))).decode()


def decode(cursor: str, owner: str) -> str:
    """The history member that a cursor stands for.

    Raises:
        InvalidField: this server gave no such cursor, or not to this owner.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).hex()
    except (binascii.Error, UnicodeEncodeError):
        text = ""
    member, mark = text[:-_MARK_DIGITS], text[-_MARK_DIGITS:]
    if not _MEMBER.fullmatch(member):
        raise InvalidField(
            "cursor", f"{cursor[:60]!r} is no cursor; send a page's `next_cursor`, or none"
        )
    if mark != _mark(member, owner):
        raise InvalidField(
            "cursor",
            f"{cursor[:60]!r} is of another API key's list; begin your own without a cursor",
        )
    return member


def _mark(member: str, owner: str) -> str:
    """Tells owners apart, and does not say who they are."""
    return hashlib.sha256(f"{owner}:{member}".encode()).hexdigest()[:_MARK_DIGITS]
