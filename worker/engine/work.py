"""What goes into the engine and what comes out: works, their rows, and events.

Knows torch and `models`; knows no Redis, RQ, HTTP, files or threads.
Shapes: images of (C, H, W) floats inside; (H, W, C) uint8 pixels in events.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.guidance import WHOLE, evaluations, guides, needs_null_class, run_evaluations
from models.sample import strip_steps
from models.sampler import Table
from models.start import Known
from worker.engine.weights import Weights

Pixels = npt.NDArray[np.uint8]
_D = 6  # the column of a row's table that scales the step's noise


@dataclass(frozen=True, eq=False)
class Work:
    """One request: what to draw, with which weights and table.

    Attributes:
        owner: who shares with whom; all works of one owner share that owner's part.
        seeds: one per image.
        conditions: what each image is drawn for; None: for nothing, unconditionally.
        negative: what guidance leads away from; None: the unconditional.
        guidance_interval: share of the run, [from, to), in which guidance applies.
        variation: other seeds, one per image, and the share of their first noise that is mixed in.
        known: a picture to begin from, or to be held to in places: as rows are, on their device.
        paste: what is laid over finished pictures, where rows are latents.
        skipped: rows of the sampler's whole table before the first of ``table``.
        strip: frames of each image's denoising strip; 0 keeps none.
        preview_every: steps between previews of each image; 0 shows none.
        isolated: never to share a batch, because it may have killed a worker.
        weight: of its steps, how many it gets for each of a work of 1 that the owner has beside it.
    """

    id: str
    owner: str
    weights: Weights
    table: Table
    seeds: tuple[int, ...]
    conditions: tuple[Tensor | None, ...]
    negative: Tensor | None = None
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = WHOLE
    clip: bool = True
    variation: tuple[tuple[int, ...], float] | None = None
    known: Known | None = None
    paste: "Paste | None" = None
    skipped: int = 0
    strip: int = 0
    preview_every: int = 0
    isolated: bool = False
    weight: float = 1.0

    @property
    def places(self) -> int:
        """Places that all its images take in the network's first evaluation."""
        return sum(self.places_of(index, 0) for index in range(len(self.seeds)))

    @property
    def evaluations(self) -> int:
        """Network evaluations that it takes in all; a guided image's step takes two."""
        scale, interval = self.guidance_scale, self.guidance_interval
        steps, skipped = self.skipped + self.table.steps, self.skipped
        return sum(
            run_evaluations(
                steps, scale, interval, conditional=condition is not None, skipped=skipped
            )
            for condition in self.conditions
        )

    def places_of(self, index: int, k: int) -> int:
        """Evaluations that step ``k`` of an image takes."""
        whole = self.skipped + self.table.steps
        if not guides(self.skipped + k, whole, self.guidance_interval):
            return 1
        conditional = self.conditions[index] is not None
        return evaluations(self.guidance_scale, conditional=conditional)

    def rows(self) -> list["Row"]:
        """Its images, not yet begun.

        Raises:
            ValueError: it draws without a condition, which these weights cannot.
        """
        wanted = self.weights.condition
        if wanted is not None and wanted.null is None:
            conditional = all(condition is not None for condition in self.conditions)
            needed = needs_null_class(self.guidance_scale, conditional=conditional)
            if needed and (self.negative is None or not conditional):
                raise ValueError(f"{self.weights.version} has no null class to draw without one")
        t = self.table
        columns = np.stack([t.t, t.p, t.q, t.a, t.b, t.c, t.d], axis=1).astype(np.float32)
        moments = frozenset(strip_steps(t.steps, self.strip))
        return [Row(self, index, columns, moments) for index in range(len(self.seeds))]


@dataclass(frozen=True, eq=False)
class Paste:
    """Pixels that stay as they were, in places.

    Attributes:
        pixels: (H, W, C) uint8.
        share: (H, W, 1) float32 in 0 ... 1, how much of them is seen; 1 is all, to the grey level.
    """

    pixels: Pixels
    share: npt.NDArray[np.float32]

    def over(self, picture: Pixels) -> Pixels:
        """A finished picture with them laid over it."""
        mixed = self.share * self.pixels + (1 - self.share) * picture
        return np.rint(mixed).astype(np.uint8)


@dataclass(eq=False)
class Row:
    """One image in the making, which can pause and go on anywhere.

    Attributes:
        columns: (K, 7) float32: t, p, q, a, b, c, d of each step.
        moments: steps before which x belongs to the strip; K is the picture itself.
        k: steps made.
        slot: where its pixels are (`batch`); None before the first step.
        first: its first noise, where it is held to a known picture; None before the first step.
        noise: of steps to come, by step; drawn some ahead, because few rows cost what many do.
    """

    work: Work
    index: int
    columns: npt.NDArray[np.float32]
    moments: frozenset[int]
    k: int = 0
    slot: int | None = None
    first: Tensor | None = None
    frames: list[Pixels] = field(default_factory=list)
    noise: dict[int, Tensor] = field(default_factory=dict)

    @property
    def condition(self) -> Tensor | None:
        """What it is drawn for; None where nothing or guidance 0 makes it unconditional."""
        return None if self.work.guidance_scale == 0 else self.work.conditions[self.index]

    @property
    def guided(self) -> bool:
        """Whether the next step needs a second, unconditional evaluation."""
        return self.places == 2

    @property
    def places(self) -> int:
        """Places that the next step takes in the network's batch: evaluations."""
        return self.work.places_of(self.index, self.k)

    @property
    def noise_scale(self) -> float:
        """D of the next step."""
        return float(self.columns[self.k, _D])

    @property
    def finished(self) -> bool:
        """Whether every step is made."""
        return self.k == len(self.columns)

    @property
    def last(self) -> bool:
        """Whether the next step is the last."""
        return self.k == len(self.columns) - 1

    @property
    def previewed(self) -> bool:
        """Whether the next step is followed by a preview."""
        every = self.work.preview_every
        return every > 0 and (self.k + 1) % every == 0 and not self.last


@dataclass(frozen=True)
class Drawing:
    """The steps from here on are of these works together, until the next such event."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Started:
    """The first step of a work has been made."""

    id: str


@dataclass(frozen=True)
class Preview:
    """What an image will roughly be: the estimate of x_0 after ``step`` steps."""

    id: str
    index: int
    step: int
    pixels: Pixels


@dataclass(frozen=True)
class ImageDone:
    """An image is finished; ``frames`` are its strip's, noise first."""

    id: str
    index: int
    pixels: Pixels
    frames: tuple[Pixels, ...] = ()


@dataclass(frozen=True)
class WorkDone:
    """All images of a work are finished."""

    id: str


@dataclass(frozen=True)
class WorkFailed:
    """A work cannot go on."""

    id: str
    error: Exception


Event = Drawing | Started | Preview | ImageDone | WorkDone | WorkFailed
