"""The queue, and who holds what: admit, look, take, open, cancels, requeue, forget, settle."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from wire import keys
from wire.life.script import Argument, Call, script
from wire.record import Record

ONCE_SECONDS = 24 * 3600  # an Idempotency-Key is kept so long
OVERCOMMIT = 32  # requests of one owner that a worker takes although no place is free
Fields = dict[bytes, bytes]


class Outcome(StrEnum):
    """What became of a request to be let in."""

    ACCEPTED = "accepted"
    REPLAY = "replay"  # its Idempotency-Key stands for an earlier generation
    CONFLICT = "conflict"  # its Idempotency-Key stands for another payload
    FULL = "full"  # there is no room for so many pictures
    STORED = "stored"  # its owner's results take as many bytes as they may


@dataclass(frozen=True)
class Admission:
    """The answer of `admit`: ``detail`` is a generation's id, or how much there is already."""

    outcome: Outcome
    detail: str

    @classmethod
    def read(cls, answer: Any) -> "Admission":
        outcome, detail = answer
        return cls(Outcome(outcome.decode()), detail.decode())


def admit(
    record: Record,
    *,
    reserved: int,
    most_queued: int,
    most_stored: int,
    once: tuple[str, str] = ("", ""),
    inputs: Mapping[str, bytes] | None = None,
) -> Call[Admission]:
    """Let a fresh generation in; run it in the transaction that queues its job.

    Args:
        reserved: bytes that its results may take in Redis, until it ends and they are counted.
        most_queued: pictures of all owners that may wait.
        most_stored: bytes that one owner's results may take; 0: no limit.
        once: where its Idempotency-Key is kept, and the digest of what was asked.
        inputs: PNGs that it begins from, by the names in `wire.keys`; they go when it goes.
    """
    fields: list[Argument] = []
    for pair in record.to_hash().items():
        fields += pair
    return script("admit").call(
        Admission.read,
        id=record.id,
        owner=record.owner,
        version=record.request.model,
        batch=record.request.batch,
        evaluations=record.request.evaluations,
        priority=record.request.priority,
        turn=repr(record.turn),
        reserved=reserved,
        now=repr(record.created),
        member=record.history_member,
        once=once[0],
        fingerprint=once[1],
        once_seconds=ONCE_SECONDS,
        init=(inputs or {}).get(keys.INIT, b""),
        mask=(inputs or {}).get(keys.MASK, b""),
        most_queued=most_queued,
        most_stored=most_stored,
        rest=fields,
    )


@dataclass(frozen=True)
class Looked:
    """A record's fields; while it waits also where it stands.

    Attributes:
        place: in the queue; 0: not there.
        evaluations: of the network until its end, its own and its part of others'.
        backlog: evaluations of all that is accepted and not drawn.
    """

    fields: Fields
    place: int = 0
    evaluations: int = 0
    backlog: int = 0


def look(id_: str) -> Call[Looked]:
    """How it stands."""

    def read(answer: Any) -> Looked:
        flat, *numbers = answer
        return Looked(fields_of(flat), *map(int, numbers))

    return script("look").call(read, id=id_, overcommit=OVERCOMMIT)


@dataclass(frozen=True)
class Hand:
    """Who takes jobs in hand, and until when they are that worker's if it says no more.

    Attributes:
        worker: its name here.
        rq_worker: its name among RQ's.
        execution: of RQ; names this take. The same take again, because its answer was lost, takes
            nothing more and answers the same.
        abandoned_at: Unix time.
        moment: now, as RQ writes it.
    """

    worker: str
    rq_worker: str
    execution: str
    abandoned_at: float
    moment: str

    def entry(self, id_: str) -> str:
        """A job's place among RQ's started ones."""
        return f"{id_}:{self.execution}"

    def args(self) -> dict[str, Any]:
        """What scripts want to know of it."""
        return {
            "worker": self.worker,
            "rq_worker": self.rq_worker,
            "execution": self.execution,
            "abandoned_at": repr(self.abandoned_at),
            "moment": self.moment,
        }


@dataclass(frozen=True)
class Taken:
    """A job in hand: a record's fields, and whether to cancel it.

    Without fields it is no generation, or one that has ended, and no job any more.
    """

    id: str
    fields: Fields
    canceled: bool

    @classmethod
    def read(cls, answer: Any) -> "Taken":
        id_, flat, canceled = answer
        return cls(id_.decode("latin-1"), fields_of(flat), bool(canceled))


def take(
    versions: Iterable[str],
    held: Mapping[str, int],
    hand: Hand,
    *,
    now: float,
    room: int,
    most: int,
) -> Call[list[Taken]]:
    """Take the next jobs in hand for a worker that can draw ``versions``, at most so many.

    Args:
        held: generations in hand here, by owner.
        room: places that are free; without, an owner may have `OVERCOMMIT` in hand.
    """

    def read(answer: Any) -> list[Taken]:
        return [Taken.read(one) for one in answer]

    return script("take").call(
        read,
        now=repr(now),
        versions=json.dumps(list(versions)),
        held=json.dumps(dict(held)),
        room=room,
        overcommit=OVERCOMMIT,
        most=most,
        **hand.args(),
    )


def open_(id_: str, hand: Hand) -> Call[Taken]:
    """Take a job in hand that RQ has popped."""
    return script("open").call(Taken.read, id=id_, **hand.args())


def cancels() -> Call[set[str]]:
    """What clients want stopped, of all that workers have in hand."""

    def read(answer: Any) -> set[str]:
        return {id_.decode() for id_ in answer}

    return script("cancels").call(read)


def requeue(
    id_: str, *, place: str, entry: str, now: float, how: Literal["abandoned", "back", "elsewhere"]
) -> Call[bool]:
    """Put a job back that is still at ``place``; whether it was.

    Args:
        place: the list or sorted set that has it, as ``entry``.
        how: its worker died; or gave it back; or cannot draw it, which puts it last.
    """
    return script("requeue").call(bool, place=place, entry=entry, id=id_, now=repr(now), how=how)


def forget(id_: str, entry: str) -> Call[bool]:
    """A worker has let go of it; whether that removed its job, because it has ended."""
    return script("forget").call(bool, id=id_, entry=entry)


def settle() -> Call[bool]:
    """Where nothing is to be done, the counts of it start anew."""
    return script("settle").call(bool)


def fields_of(flat: Any) -> Fields:
    """HGETALL's answer inside a script as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
