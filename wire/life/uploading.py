"""Pictures that clients send: upload, discard; and remove, of files that have had their time."""

import time
from collections.abc import Mapping

from wire.life.ending import REMEMBER_SECONDS
from wire.life.script import Argument, Call, script


def upload(
    id_: str,
    owner: str,
    *,
    facts: Mapping[str, str],
    size: int,
    data: bytes | None,
    most_stored: int,
    result_ttl: int,
) -> Call[int | None]:
    """Keep a picture; None, or how many bytes its owner has already where there is no room.

    Args:
        facts: what is to be known of it.
        size: its bytes.
        data: the same themselves; None: they go into a file.
        most_stored: bytes that one owner's results may take; 0: no limit.
    """
    fields: list[Argument] = ["owner", owner]
    for pair in facts.items():
        fields += pair
    if data is not None:
        fields += ["data", data]

    def read(answer: int) -> int | None:
        return None if answer < 0 else answer

    return script("upload").call(
        read,
        id=id_,
        owner=owner,
        bytes=size,
        now=repr(time.time()),
        most_stored=most_stored,
        outside="1" if data is None else "",
        keep=result_ttl,
        remember=result_ttl + REMEMBER_SECONDS,
        rest=fields,
    )


def discard(id_: str, owner: str) -> Call[bool]:
    """Keep it no more; whether it was there."""
    return script("discard").call(bool, id=id_, owner=owner)


def remove_begun(id_: bytes, *, now: float, again: int) -> Call[bool]:
    """Its files' time has come; whether it has, and who asks is to remove them.

    Args:
        again: Unix time at which another asks, should this one not say that it has.
    """
    return script("remove").call(bool, id=id_, lowest=0, highest=repr(now), later=again)


def removed(id_: bytes, *, again: int) -> Call[bool]:
    """They are; whether nothing has been kept by that id meanwhile."""
    return script("remove").call(bool, id=id_, lowest=again, highest=again, later="")
