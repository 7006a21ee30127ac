"""What became of every promise: read back from Redis in bulk, and over HTTP for some.

Each picture is compared with the same one drawn in peace, by another service that nobody harms.
There are far fewer different pictures than requests, so each is drawn once.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from tests.chaos.clients import Promises
from tests.chaos.trace import Kind, Wanted
from tests.e2e.service import Service, running
from tests.support import eventually
from wire import keys

_AT_ONCE = 500
_SAMPLE = 200
_COMPLAINTS = ("lost", "failed", "doubled", "differing", "untold", "early", "deaths")
PEACE = {"EMAKI_PRECISION": "exact"}


@dataclass
class Accounts:
    """What was promised and what came of it."""

    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    asked_again: int = 0
    succeeded: int = 0
    pictures: int = 0
    different_pictures: int = 0
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)  # ended, and the webhook does not know
    early: list[str] = field(default_factory=list)  # the webhook knew before it could be read
    told_again: int = 0
    looked_up: int = 0  # messages whose generation was read as they came
    harms: Counter[str] = field(default_factory=Counter)
    deaths: list[str] = field(default_factory=list)  # of processes that nobody killed
    seconds: float = 0.0
    longest_standstill: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        broken = any(getattr(self, name) for name in _COMPLAINTS)
        return not broken and self.succeeded == self.accepted

    def __str__(self) -> str:
        harms = ", ".join(f"{count} x {name}" for name, count in sorted(self.harms.items()))
        return (
            f"{self.accepted} requests accepted in {self.seconds:.0f} s "
            f"({self.accepted / max(self.seconds, 1e-9):.0f} a second), {self.succeeded} "
            f"succeeded: {self.pictures} pictures, {self.different_pictures} different ones\n"
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, differing pictures "
            f"{len(self.differing)}, failed {len(self.failed)}\n"
            f"the webhook was told of all but {len(self.untold)}, {self.told_again} times again; "
            f"of {self.looked_up} messages looked up as they came {len(self.early)} were early\n"
            f"not promised: {self.refused} refused with 503, {self.unanswered} connections broke; "
            f"{self.asked_again} more were asked again by their Idempotency-Key\n"
            f"{sum(self.harms.values())} harms: {harms}; {len(self.deaths)} processes ended by "
            f"themselves; longest time without a finished request {self.longest_standstill:.0f} s"
        )

    def complaints(self) -> Iterator[str]:
        """What went wrong, a line each."""
        for name in _COMPLAINTS:
            for line in getattr(self, name):
                yield f"{name}: {line}"


def settle(
    accounts: Accounts, service: Service, promises: Promises, *, folder: Path, worker: str
) -> None:
    """Look at every accepted request, now that nothing is left to be done.

    Args:
        folder: for the service that draws in peace, its worker started as ``worker``.
    """
    accounts.accepted = len(promises.accepted)
    accounts.refused, accounts.unanswered = promises.refused, promises.unanswered
    accounts.asked_again = promises.asked_again
    peace = _in_peace(set(promises.accepted.values()), folder, worker)
    accounts.different_pictures = len({sha for shas in peace.values() for sha in shas.values()})
    ids = list(promises.accepted)
    with service.connection() as redis:
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            with redis.pipeline(transaction=False) as pipe:
                for id_ in part:
                    pipe.hmget(keys.generation(id_), "status", "error")
                    pipe.xrange(keys.events(id_))
                    pipe.hgetall(keys.images(id_))
                answers = pipe.execute()
            for place, id_ in enumerate(part):
                state, events, pngs = answers[3 * place : 3 * place + 3]
                found = _Found(
                    status=(state[0] or b"").decode(),
                    error=(state[1] or b"").decode(),
                    events=Counter(entry[b"event"].decode() for _, entry in events),
                    shas={int(index): _sha(png) for index, png in pngs.items()},
                )
                _count(accounts, id_, promises.accepted[id_], found, peace)
        strays = _generations(redis) - promises.accepted.keys()
    # Whoever asked once and lost the answer may have been taken in; nobody else.
    if len(strays) > accounts.unanswered:
        accounts.doubled += [f"{id_} was drawn, and nobody was told of it" for id_ in strays]
    _look_over_http(accounts, service, promises, peace)


@dataclass(frozen=True)
class _Found:
    """What Redis has of a request. ``shas``: of the PNGs, by index."""

    status: str
    error: str
    events: Counter[str]
    shas: dict[int, str]


def _count(
    accounts: Accounts, id_: str, wanted: Wanted, found: _Found, peace: dict[Kind, dict[int, str]]
) -> None:
    if found.status == "failed":
        accounts.failed.append(f"{id_} {found.error}")
        return
    if found.status != "succeeded":
        accounts.lost.append(f"{id_} is {found.status or 'nowhere'}")
        return
    accounts.succeeded += 1
    accounts.pictures += wanted.batch
    if (found.events["done"], found.events["image"]) != (1, wanted.batch):
        accounts.doubled.append(f"{id_} of {wanted.batch} pictures has {dict(found.events)}")
    if found.shas != dict(enumerate(peace[wanted.kind][seed] for seed in wanted.seeds)):
        accounts.differing.append(f"{id_} {wanted}")


def _look_over_http(
    accounts: Accounts, service: Service, promises: Promises, peace: dict[Kind, dict[int, str]]
) -> None:
    """The same of some, as their owners see it."""
    ids = random.Random(0).sample(sorted(promises.accepted), min(_SAMPLE, accounts.accepted))
    with service.client() as client:
        for id_ in ids:
            headers = {"Authorization": f"Bearer {promises.owners[id_]}"}
            answer = client.get(f"/v1/generations/{id_}", headers=headers)
            if answer.status_code != 200 or answer.json()["status"] != "succeeded":
                accounts.lost.append(f"{id_} over HTTP: {answer.text[:200]}")
                continue
            wanted, shown = promises.accepted[id_], answer.json()["images"]
            expected = [peace[wanted.kind][seed] for seed in wanted.seeds]
            pngs = [client.get(image["url"], headers=headers).content for image in shown]
            if not (expected == [image["sha256"] for image in shown] == [_sha(p) for p in pngs]):
                accounts.differing.append(f"{id_} over HTTP: {shown}")


def _in_peace(wanted: set[Wanted], folder: Path, worker: str) -> dict[Kind, dict[int, str]]:
    """The SHA-256 of every picture that was asked for, by kind and seed."""
    seeds: defaultdict[Kind, set[int]] = defaultdict(set)
    for request in wanted:
        seeds[request.kind].update(request.seeds)
    folder.mkdir()
    with running(folder, "app") as service, service.client() as client:
        service.start(worker, **PEACE)
        service.wait_until_ready()
        asked = {}
        for kind, some in seeds.items():
            first = min(some)
            body = kind.fields(seed=first, batch=max(some) - first + 1)
            asked[kind] = client.post("/v1/generations", json=body).raise_for_status().json()["id"]
        return {kind: _drawn(client, id_) for kind, id_ in asked.items()}


def _drawn(client: httpx.Client, id_: str) -> dict[int, str]:
    def finished() -> dict[str, Any] | None:
        body: dict[str, Any] = client.get(f"/v1/generations/{id_}").json()
        return body if body["finished_at"] else None

    body = eventually(finished, seconds=120, what="a picture in peace")
    assert body["status"] == "succeeded", body["error"]
    return {image["seed"]: image["sha256"] for image in body["images"]}


def _generations(redis: Redis) -> set[str]:
    """Every generation that Redis knows."""
    prefix = keys.generation("")
    names: Any = redis.scan_iter(f"{prefix}*", count=1000)
    ids = (name.decode().removeprefix(prefix) for name in names)
    return {id_ for id_ in ids if ":" not in id_}


def _sha(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()
