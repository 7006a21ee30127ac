"""Who gets the next step: each owner the same, and within an owner each job the same.

Least attained service first. An owner (or job) that joins starts level with the one that has had
least, so it is served at once but is owed nothing for the past. While everything fits, everything
runs.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Job(Generic[T]):
    items: dict[T, int]  # item -> places, in the order in which they should finish
    served: float = 0.0


@dataclass(eq=False)
class _Owner(Generic[T]):
    served: float = 0.0
    jobs: dict[str, _Job[T]] = field(default_factory=dict)


class FairShare(Generic[T]):
    """Items wait in jobs, jobs belong to owners; `choose` says which items run this step."""

    def __init__(self) -> None:
        self.demand = 0
        self._owners: dict[str, _Owner[T]] = {}
        self._owner_of: dict[str, str] = {}

    def add(self, owner: str, job: str, items: Sequence[tuple[T, int]]) -> None:
        """Add a job's (item, places) pairs, in the order in which they should finish."""
        if owner not in self._owners:
            level = min((o.served for o in self._owners.values()), default=0.0)
            self._owners[owner] = _Owner(served=level)
        jobs = self._owners[owner].jobs
        jobs[job] = _Job(dict(items), min((j.served for j in jobs.values()), default=0.0))
        self._owner_of[job] = owner
        self.demand += sum(places for _, places in items)

    def remove(self, job: str) -> list[tuple[T, int]]:
        """Forget a job; returns the (item, places) that it still had, none if it is not here."""
        owner = self._owner_of.pop(job, None)
        if owner is None:
            return []
        dropped = self._owners[owner].jobs.pop(job)
        self.demand -= sum(dropped.items.values())
        if not self._owners[owner].jobs:
            del self._owners[owner]
        return list(dropped.items.items())

    def done(self, job: str, item: T) -> None:
        """An item needs no more steps."""
        items = self._owners[self._owner_of[job]].jobs[job].items
        self.demand -= items.pop(item)
        if not items:
            self.remove(job)

    def choose(self, capacity: int) -> list[T]:
        """Items for the next step, at most ``capacity`` places, and charge their owners."""
        if self.demand > capacity:
            return self._contended(capacity)
        everything: list[T] = []
        for owner in self._owners.values():
            for job in owner.jobs.values():
                _charge(owner, job, sum(job.items.values()))
                everything += job.items
        return everything

    def choose_from(self, job: str, capacity: int) -> list[T]:
        """The same, of one job alone."""
        owner = self._owners[self._owner_of[job]]
        chosen: list[T] = []
        for item, places in owner.jobs[job].items.items():
            if places > capacity:
                break
            capacity -= places
            chosen.append(item)
            _charge(owner, owner.jobs[job], places)
        return chosen

    def _contended(self, capacity: int) -> list[T]:
        chosen: list[T] = []
        owners = [(o.served, rank, o) for rank, o in enumerate(self._owners.values())]
        heapq.heapify(owners)
        waiting: dict[int, list[tuple[float, int, _Job[T], Iterator[tuple[T, int]]]]] = {}
        while owners and capacity > 0:
            _, rank, owner = heapq.heappop(owners)
            if rank not in waiting:
                waiting[rank] = [
                    (job.served, i, job, iter(job.items.items()))
                    for i, job in enumerate(owner.jobs.values())
                ]
                heapq.heapify(waiting[rank])
            while waiting[rank]:
                _, i, job, items = heapq.heappop(waiting[rank])
                item, places = next(items, (None, 0))
                if item is None or places > capacity:
                    continue  # all of it runs; or the last place stays free, not out of turn
                capacity -= places
                chosen.append(item)
                _charge(owner, job, places)
                heapq.heappush(waiting[rank], (job.served, i, job, items))
                heapq.heappush(owners, (owner.served, rank, owner))
                break
        return chosen


def _charge(owner: _Owner[T], job: _Job[T], places: int) -> None:
    owner.served += places
    job.served += places
