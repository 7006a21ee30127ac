"""Who gets the next step: each owner the same, and within an owner each work the same.

Least attained service first. An owner (or work) that joins starts level with the one that has had
least, so it is served at once but is owed nothing for the past. While everything fits, everything
runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Job(Generic[T]):
    items: dict[T, int]  # item -> places, in order
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

    def remove(self, job: str) -> None:
        """Forget a job; nothing happens if it is not here."""
        owner = self._owner_of.pop(job, None)
        if owner is None:
            return
        dropped = self._owners[owner].jobs.pop(job)
        self.demand -= sum(dropped.items.values())
        if not self._owners[owner].jobs:
            del self._owners[owner]

    def done(self, job: str, item: T) -> None:
        """An item needs no more steps."""
        items = self._owners[self._owner_of[job]].jobs[job].items
        self.demand -= items.pop(item)
        if not items:
            self.remove(job)

    def choose(self, capacity: int) -> list[T]:
        """Items for the next step, at most ``capacity`` places, and charge their owners."""
        if self.demand <= capacity:
            everything: list[T] = []
            for owner in self._owners.values():
                for job in owner.jobs.values():
                    self._charge(owner, job, sum(job.items.values()))
                    everything += job.items
            return everything
        return self._contended(capacity)

    def _contended(self, capacity: int) -> list[T]:
        waiting = {
            id(job): list(job.items.items())[::-1]
            for owner in self._owners.values()
            for job in owner.jobs.values()
        }
        chosen: list[T] = []
        owners = list(self._owners.values())
        while owners and capacity > 0:
            owner = min(owners, key=lambda o: o.served)
            jobs = [job for job in owner.jobs.values() if waiting[id(job)]]
            if not jobs:
                owners.remove(owner)
                continue
            job = min(jobs, key=lambda j: j.served)
            item, places = waiting[id(job)].pop()
            if places > capacity:
                waiting[id(job)].clear()  # the last place stays free rather than out of turn
                continue
            capacity -= places
            chosen.append(item)
            self._charge(owner, job, places)
        return chosen

    @staticmethod
    def _charge(owner: _Owner[T], job: _Job[T], places: int) -> None:
        owner.served += places
        job.served += places
