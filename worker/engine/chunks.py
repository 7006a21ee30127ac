"""How the places of a step are cut into chunks, and which core evaluates which.

A chunk has one of a few sizes and is evaluated by one core, with one thread and nobody to wait
for. Cores get equal shares; a share that no sum of sizes fits is filled up, and what a
filled-up place computes is thrown away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

# A chunk costs about what so many of its places do before it computes the first.
_OVERHEAD = 1.5

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """A step's places, cut.

    Attributes:
        places: that hold something.
        shares: for each core its chunks' sizes.
        filled: of each core's places, how many hold something.
    """

    places: int
    shares: tuple[tuple[int, ...], ...]
    filled: tuple[int, ...]

    @property
    def computed(self) -> int:
        """Places that the network computes, the filled-up ones included."""
        return sum(sum(share) for share in self.shares)

    @cached_property
    def slots(self) -> Indices:
        """(computed,): which place is computed there; a filled-up one computes the first again."""
        slots = np.zeros(self.computed, dtype=np.int64)
        slots[self.where] = np.arange(self.places)
        return slots

    @cached_property
    def where(self) -> Indices:
        """(places,): where each is computed."""
        starts = np.cumsum([0, *(sum(share) for share in self.shares[:-1])])
        pieces = [start + np.arange(n) for start, n in zip(starts, self.filled, strict=True)]
        return np.concatenate(pieces)


def cut(places: int, sizes: Sequence[int], cores: int) -> Cut:
    """Cut ``places``, at least one, into chunks of these rising sizes for so many cores."""
    return _cut(places, tuple(sizes), cores)


@lru_cache(maxsize=4096)
def _cut(places: int, sizes: tuple[int, ...], cores: int) -> Cut:
    smallest = sizes[0]
    units = -(-places // smallest)
    used = min(cores, units)
    wanted = [smallest * (units // used + (core < units % used)) for core in range(used)]
    wanted[-1] -= sum(wanted) - places
    shares = tuple(_cheapest(share, sizes) for share in wanted)
    return Cut(places, shares, tuple(wanted))


@lru_cache(maxsize=4096)
def _cheapest(places: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The chunks that hold so many places at the least cost, largest first."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for count in range(1, places + 1):
        rests = ((size, best[max(0, count - size)]) for size in sizes)
        best.append(min((_OVERHEAD + size + cost, (size, *rest)) for size, (cost, rest) in rests))
    return tuple(sorted(best[places][1], reverse=True))
