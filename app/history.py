"""An owner's generations, newest first: which ones a page holds, and how far it looks for them.

The history is sorted by creation, so moments are where a look begins and ends; what else is asked
is compared with the records, of which a page looks at so many and no more. Knows no HTTP.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from app import naming
from wire import keys
from wire.record import Record
from wire.schemas import Status

_MOST_LOOKED_AT = 1000  # by one page
_AT_ONCE = 100
_COMPARED = ("status", "version", "created", "request")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which generations. What is None is not asked about.

    Attributes:
        model: `name` or `name@step`.
        class_: of any of its images, as people write it.
        seed: of any of its images.
        since: created then or later, by the moment that clients see.
        until: created earlier.
    """

    status: Status | None = None
    model: str | None = None
    class_: str | None = None
    seed: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def any_record(self) -> bool:
        """Whether no record needs to be looked into."""
        return self == Wanted()

    def meets(self, status: str, version: str, created: str, request: str) -> bool:
        """Whether a record with these fields is one of them."""
        moment = datetime.fromtimestamp(float(created), UTC)
        if (self.since and moment < self.since) or (self.until and moment >= self.until):
            return False
        return self._asks_of(status, version) and self._asks_for(request)

    def _asks_of(self, status: str, version: str) -> bool:
        if self.status is not None and status != self.status.value:
            return False
        return self.model is None or self.model in (version, version.partition("@")[0])

    def _asks_for(self, request: str) -> bool:
        if self.class_ is None and self.seed is None:
            return True
        asked: dict[str, Any] = json.loads(request)
        if self.seed is not None and not 0 <= self.seed - asked["seed"] < asked["batch"]:
            return False
        names = [name for name in dict.fromkeys(asked["class_names"]) if name is not None]
        return self.class_ is None or naming.find(self.class_, names) is not None


async def page(
    redis: Redis, owner: str, wanted: Wanted, *, after: str | None, limit: int
) -> tuple[list[Record], str | None]:
    """Some of the owner's generations.

    Args:
        after: the history member after which to go on; None: the newest.
        limit: how many at most; there may be fewer, and more to come.

    Returns:
        The records, and the member after which the next page goes on; None at the end.
    """
    key, looked = keys.history(owner), 0
    found: list[Record] = []
    upper = "+" if wanted.until is None else f"({_microseconds(wanted.until, 1)}"
    lower = "-" if wanted.since is None else f"[{_microseconds(wanted.since, -1)}"
    if after is not None and (upper == "+" or f"({after}" < upper):
        upper = f"({after}"
    at_once = limit + 1 if wanted.any_record else _AT_ONCE
    while looked < _MOST_LOOKED_AT:
        raw: Any = await redis.zrevrangebylex(key, upper, lower, 0, at_once)
        members = [member.decode() for member in raw]
        looked += len(members)
        found += await _those(redis, key, members, wanted, most=limit + 1 - len(found))
        if len(found) > limit:  # one more: so there is a next page
            return found[:limit], found[limit - 1].history_member
        if len(members) < at_once:
            return found, None
        upper = f"({members[-1]}"
    return found, upper[1:]


async def _those(
    redis: Redis, key: str, members: list[str], wanted: Wanted, *, most: int
) -> list[Record]:
    """The first records that are wanted of those members; members without one leave the history."""
    ids = [member[16:] for member in members]
    gone: list[str] = []
    if not wanted.any_record:
        async with redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.hmget(keys.generation(id_), *_COMPARED)
            answers: list[Any] = await pipe.execute()
        gone = [member for member, (status, *_) in zip(members, answers, strict=True) if not status]
        ids = [
            id_
            for id_, fields in zip(ids, answers, strict=True)
            if fields[0] and wanted.meets(*(field.decode() for field in fields))
        ][:most]
    async with redis.pipeline(transaction=False) as pipe:
        for id_ in ids:
            pipe.hgetall(keys.generation(id_))
        records: list[Any] = await pipe.execute()
    if wanted.any_record:
        gone = [member for member, data in zip(members, records, strict=True) if not data]
    if gone:
        await redis.zrem(key, *gone)
    return [Record.from_hash(data) for data in records if data]


def _microseconds(time: datetime, beyond: int) -> str:
    """As history members begin; these may be rounded otherwise than what clients see."""
    return f"{max(0, round(time.timestamp() * 1e6) + beyond):016x}"
