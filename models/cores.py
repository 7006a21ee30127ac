"""A CPU's cores side by side, each with rows of its own.

Two threads that take half of a batch each meet once a step; two that share every operation meet
several times in each ("How fast" in docs/training.md). Training shares out a batch's rows, the
worker's engine a step's chunks.

Threads that together have every core stay on theirs: left alone, two of them now and then end up on
one core, and a kernel may leave them there for as long as they run, the other core idle.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar

import torch

_FEWEST_ROWS = 4  # with fewer, an operation is too small to be worth a thread

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Cores:
    """Threads among which ``threads`` of torch's are divided evenly; or just the caller's.

    Args:
        most: of them; None: as many as torch's, so that each has one.
    """

    def __init__(self, threads: int, *, most: int | None = None) -> None:
        counts = range(1, min(threads, most or threads) + 1)
        self._count = max(count for count in counts if threads % count == 0)
        self._pool = (
            ThreadPoolExecutor(
                self._count,
                thread_name_prefix="core",
                initializer=_settle,
                initargs=(threads // self._count, _places(self._count, threads)),
            )
            if self._count > 1
            else None
        )

    def split(self, rows: slice) -> list[slice]:
        """These rows in pieces that differ by one row at most, in order; a few stay together."""
        total = rows.stop - rows.start
        count = self._count if total >= self._count * _FEWEST_ROWS else 1
        bounds = [rows.start + total * piece // count for piece in range(count + 1)]
        return [slice(start, stop) for start, stop in pairwise(bounds)]

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results in the items' order; a lone item is worked on by all of torch's threads."""
        given = list(items)
        if self._pool is None or len(given) == 1:
            return map(work, given)
        return self._pool.map(work, given)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _places(count: int, threads: int) -> Iterator[set[int]]:
    """The CPUs of each of ``count`` threads; nothing if others are to have some of them."""
    if not hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return iter(())
    cpus = sorted(os.sched_getaffinity(0))
    if threads != len(cpus):
        return iter(())
    each = threads // count
    return iter([set(cpus[start : start + each]) for start in range(0, threads, each)])


def _settle(threads: int, places: Iterator[set[int]]) -> None:
    """In a thread that begins: so many of torch's, of it and those that it starts, on its CPUs."""
    torch.set_num_threads(threads)
    with suppress(StopIteration, OSError):  # a sandbox may forbid it
        os.sched_setaffinity(0, next(places))
