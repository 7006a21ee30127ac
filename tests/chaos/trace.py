"""What the clients of a chaos run ask for: many requests, few different pictures.

A picture is told by its `Kind` and its seed; a request wants one kind and consecutive seeds.
"""

import random
from dataclasses import dataclass
from typing import Any

from models.sampler import SAMPLERS
from tests.support import CLASSES


@dataclass(frozen=True)
class Kind:
    """What the pictures of a request share."""

    class_: str | None
    steps: int
    sampler: str
    guidance_scale: float

    def fields(self, *, seed: int, batch: int) -> dict[str, Any]:
        """The body of a request for these seeds."""
        return {
            "seed": seed,
            "batch": batch,
            "class": self.class_,
            "steps": self.steps,
            "sampler": self.sampler,
            "guidance_scale": self.guidance_scale,
        }


@dataclass(frozen=True)
class Wanted:
    """One request: ``batch`` pictures of a kind, of the seeds from ``seed`` on."""

    kind: Kind
    seed: int
    batch: int

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.batch)

    def fields(self) -> dict[str, Any]:
        """The request's body."""
        return self.kind.fields(seed=self.seed, batch=self.batch)


@dataclass(frozen=True)
class Trace:
    """Requests at random, each choice as likely as it stands here.

    Attributes:
        unfinished: clients pause while so many requests have not ended.
    """

    seeds: int
    steps: tuple[int, ...]
    batches: tuple[int, ...]
    guidance: tuple[float, ...]
    unfinished: int

    def next(self, chance: random.Random) -> Wanted:
        """One more request."""
        kind = Kind(
            class_=chance.choice([*CLASSES, None]),
            steps=chance.choice(self.steps),
            sampler=chance.choice(SAMPLERS),
            guidance_scale=chance.choice(self.guidance),
        )
        return Wanted(kind, chance.randrange(self.seeds), chance.choice(self.batches))


# Real steps of a real, tiny network: a worker is often killed within a request.
DRAWN = Trace(seeds=4, steps=(5, 40), batches=(1, 1, 2, 5), guidance=(0, 1, 2), unfinished=30)
# As many requests as can be: most of a request is its way to the engine and back.
LIGHT = Trace(seeds=40, steps=(1, 2), batches=(1, 1, 2), guidance=(1, 2), unfinished=2000)
