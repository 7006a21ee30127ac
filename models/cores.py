"""A CPU's cores side by side, each with rows of its own.

Two threads that take half of a batch each meet once a step; two that share every operation meet
several times in each ("How fast" in docs/training.md). Training shares out a batch's rows, the
worker's engine a step's chunks.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

_FEWEST_ROWS = 4  # with fewer, an operation is too small to be worth a thread

Item = TypeVar("Item")
Result = TypeVar("Result")


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
                initializer=torch.set_num_threads,  # of these, and of threads started later
                initargs=(threads // self._count,),
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
