"""Who gets the next step: each owner the same, and within an owner each job by its weight.

Least attained service first, counted in network evaluations over everything that an owner asks
for. Jobs that may share a batch have the same kind (a model's weights; a job that shares with
nobody is a kind of its own): whose turn it is decides the kind, then the batch is filled fairly
with others of that kind.

An owner (or job) that joins starts level with the one that has had least, so it is served at once
but is owed nothing for the past. Nor is one that got all it asked for, however little that was.
"""

import heapq
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Job(Generic[T]):
    owner: str
    kind: Hashable
    items: dict[T, int]  # item -> places, in the order in which they should finish
    served: float = 0.0  # divided by its weight
    weight: float = 1.0


@dataclass(eq=False)
class _Owner(Generic[T]):
    served: float = 0.0
    jobs: dict[str, _Job[T]] = field(default_factory=dict)


class FairShare(Generic[T]):
    """Items wait in jobs, jobs belong to owners.

    A step is `next_job`, then `fill` (or `items_of`), then `charge`.
    """

    def __init__(self) -> None:
        self.demand = 0
        self._owners: dict[str, _Owner[T]] = {}
        self._jobs: dict[str, _Job[T]] = {}

    def add(
        self,
        owner: str,
        job: str,
        items: Sequence[tuple[T, int]],
        *,
        kind: Hashable,
        weight: float = 1.0,
    ) -> None:
        """Add a job's (item, places) pairs, in the order in which they should finish."""
        if owner not in self._owners:
            level = min((o.served for o in self._owners.values()), default=0.0)
            self._owners[owner] = _Owner(served=level)
        jobs = self._owners[owner].jobs
        level = min((j.served for j in jobs.values()), default=0.0)
        jobs[job] = self._jobs[job] = _Job(owner, kind, dict(items), level, weight)
        self.demand += sum(places for _, places in items)

    def remove(self, job: str) -> list[T]:
        """Forget a job; returns the items that it still had, none if it is not here."""
        dropped = self._jobs.pop(job, None)
        if dropped is None:
            return []
        jobs = self._owners[dropped.owner].jobs
        del jobs[job]
        if not jobs:
            del self._owners[dropped.owner]
        self.demand -= sum(dropped.items.values())
        return list(dropped.items)

    def regroup(self, job: str, kind: Hashable) -> None:
        """Change which jobs it may share a batch with."""
        self._jobs[job].kind = kind

    def resize(self, job: str, item: T, places: int) -> None:
        """From its next step on, an item takes so many places."""
        items = self._jobs[job].items
        self.demand += places - items[item]
        items[item] = places

    def done(self, job: str, item: T) -> None:
        """An item needs no more steps."""
        items = self._jobs[job].items
        self.demand -= items.pop(item)
        if not items:
            self.remove(job)

    def next_job(self) -> str:
        """Whose turn it is: the least served job of the least served owner. There must be one."""
        owner = min(self._owners.values(), key=lambda o: o.served)
        return min(owner.jobs, key=lambda job: owner.jobs[job].served)

    def items_of(self, job: str, capacity: int) -> dict[str, list[T]]:
        """Items of one job alone, at most ``capacity`` places."""
        chosen: list[T] = []
        for item, places in self._jobs[job].items.items():
            if places > capacity:
                break
            capacity -= places
            chosen.append(item)
        return {job: chosen}

    def fill(self, job: str, capacity: int) -> dict[str, list[T]]:
        """Items by job, of the kind that ``job`` is: at most ``capacity`` places, fairly."""
        kind = self._jobs[job].kind
        chosen: dict[str, list[T]] = {}
        queues = []
        for rank, owner in enumerate(self._owners.values()):
            mine = [
                (candidate.served, i, name, candidate.weight, iter(candidate.items.items()))
                for i, (name, candidate) in enumerate(owner.jobs.items())
                if candidate.kind == kind
            ]
            if mine:
                heapq.heapify(mine)
                queues.append((owner.served, rank, mine))
        heapq.heapify(queues)
        while queues and capacity > 0:
            served, rank, mine = heapq.heappop(queues)
            places = _take_one(mine, capacity, chosen)
            if places:
                capacity -= places
                heapq.heappush(queues, (served + places, rank, mine))
        return chosen

    def charge(self, chosen: dict[str, list[T]], evaluations: int) -> None:
        """Divide a step's network evaluations, its padding included, among those who had it."""
        places = {
            name: sum(self._jobs[name].items[item] for item in items)
            for name, items in chosen.items()
        }
        each = evaluations / max(1, sum(places.values()))
        for name, count in places.items():
            job = self._jobs[name]
            job.served += count * each / job.weight
            self._owners[job.owner].served += count * each
        self._level(chosen, each)

    def _level(self, chosen: dict[str, list[T]], each: float) -> None:
        """Who had all they asked for is not owed the difference to who asks for more.

        But for what its weight is for: a job may stay behind by a step of the owner's lightest one.
        """
        modest: list[_Owner[T]] = []
        waiting: list[_Owner[T]] = []
        for owner in self._owners.values():
            content: list[_Job[T]] = []
            wanting: list[_Job[T]] = []
            for name, job in owner.jobs.items():
                whole = len(chosen.get(name, ())) == len(job.items)
                (content if whole else wanting).append(job)
            lightest = min(job.weight for job in owner.jobs.values())
            for job in content:
                owed = 0.0
                if job.weight > lightest:
                    owed = (1 / lightest - 1 / job.weight) * sum(job.items.values()) * each
                job.served = max(job.served, _least(wanting) - owed)
            (waiting if wanting else modest).append(owner)
        for owner in modest:
            owner.served = max(owner.served, _least(waiting))


def _take_one(
    jobs: list[tuple[float, int, str, float, Iterator[tuple[T, int]]]],
    capacity: int,
    chosen: dict[str, list[T]],
) -> int:
    """Choose an item of an owner's least served job; its places, 0 when none fits or is left."""
    while jobs:
        served, i, name, weight, items = heapq.heappop(jobs)
        entry = next(items, None)
        if entry is None or entry[1] > capacity:
            continue  # all of it runs; or the last place stays free, not out of turn
        chosen.setdefault(name, []).append(entry[0])
        heapq.heappush(jobs, (served + entry[1] / weight, i, name, weight, items))
        return entry[1]
    return 0


def _least(those: Sequence[_Job[T] | _Owner[T]]) -> float:
    return min((one.served for one in those), default=0.0)
