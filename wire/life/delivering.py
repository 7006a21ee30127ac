"""Webhooks' deliveries: claim, told, resend. What is to be told is put there by the transitions.

A delivery waits in its generation's list, behind those before it; a receiver's set says when each
generation's first one is due. Whoever claims one has it until the lease ends, so a deliverer that
is killed only delays. Delivery is at least once: the same message has the same id each time.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wire.life.script import Call, script

_KEEP_SECONDS = 7 * 24 * 3600
_MOST_DEAD = 1000  # of an owner; the oldest go


@dataclass(frozen=True)
class Delivery:
    """One message to one receiver. Times are Unix seconds.

    Attributes:
        id: the same at each try.
        at: when it happened; since: from when tries count.
        to: whose, and for which receiver (`wire.webhook.queue`).
        secret: the client's own; "" for the server's.
        data: JSON.
        tries: made so far.
        why: why the last one failed, and when it was given up: of a dead one.
    """

    id: str
    generation: str
    event: str
    at: float
    since: float
    url: str
    to: str
    secret: str
    data: str
    tries: int
    why: str = ""
    died: float = 0.0

    @classmethod
    def read(cls, text: bytes, tries: int | None = None) -> "Delivery":
        """What the scripts keep as JSON."""
        found = json.loads(text)
        return cls(
            **{name: found[name] for name in ("id", "generation", "event", "url", "to", "data")},
            at=float(found["at"]),
            since=float(found["since"]),
            secret=found["secret"],
            tries=found.get("tries", 0) if tries is None else tries,
            why=found.get("why", ""),
            died=float(found.get("died", 0)),
        )


def claim(
    *, now: float, lease: float, room: int, most: int, busy: Mapping[str, int]
) -> Call[list[Delivery]]:
    """Take what is due, until ``lease`` at most.

    Args:
        room: at most so many; ``most`` of one ``to``.
        busy: how many of each ``to`` are under way here.
    """

    def read(answer: Any) -> list[Delivery]:
        return [Delivery.read(text, tries) for text, tries in answer]

    return script("claim").call(
        read, now=repr(now), lease=repr(lease), room=room, most=most, busy=json.dumps(dict(busy))
    )


def told(
    delivery: Delivery,
    outcome: Literal["delivered", "later", "dead"],
    *,
    at: float = 0.0,
    why: str = "",
) -> Call[bool]:
    """What came of a try; ``at``: when the next one is due."""
    return script("told").call(
        bool,
        id=delivery.generation,
        to=delivery.to,
        message=delivery.id,
        outcome=outcome,
        at=repr(at),
        why=why,
        now=repr(time.time()),
        keep=_KEEP_SECONDS,
        most=_MOST_DEAD,
    )


def resend(owner: str, message: str) -> Call[bool]:
    """Try a dead one again; whether there was such a one."""
    return script("resend").call(bool, owner=owner, message=message, now=repr(time.time()))
