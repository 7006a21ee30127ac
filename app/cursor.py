"""The opaque cursor of a list: where in an owner's history a page ended."""

import base64
import binascii
import re

from app.exceptions import InvalidField

_MEMBER = re.compile(r"[0-9a-f]{48}")


def encode(member: str) -> str:
    """A history member as a client sees it."""
    return base64.urlsafe_b64encode(bytes.fromhex(member)).decode()


def decode(cursor: str) -> str:
    """The history member that a cursor stands for.

    Raises:
        InvalidField: this server gave no such cursor.
    """
    try:
        member = base64.urlsafe_b64decode(cursor.encode("ascii")).hex()
    except (binascii.Error, UnicodeEncodeError):
        member = ""
    if not _MEMBER.fullmatch(member):
        raise InvalidField(
            "cursor", f"{cursor[:60]!r} is no cursor; send a page's `next_cursor`, or none"
        )
    return member
