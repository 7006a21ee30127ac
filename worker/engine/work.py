"""What goes into the engine and what comes out: works, their rows, and events.

Knows torch and `models`; knows no Redis, RQ, HTTP, files or threads.
Shapes: images of (C, H, W) floats inside; (H, W, C) uint8 pixels in events.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.guidance import evaluations, needs_null_class
from models.sample import strip_steps
from models.sampler import Table

Pixels = npt.NDArray[np.uint8]
Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class Weights:
    """One version of one model, ready to run.

    Attributes:
        forward: (b, C, H, W), (b,) float32 t, (b,) int64 labels or None -> (b, C, H, W).
        null_class: the unconditional label; None where there is none.
        classes: whether ``forward`` wants labels.
        largest: rows for which there was memory when it was loaded; None: as many as wanted.
    """

    version: str
    forward: Forward
    shape: tuple[int, int, int]
    classes: bool
    null_class: int | None
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    largest: int | None = None


@dataclass(frozen=True, eq=False)
class Work:
    """One request: what to draw, with which weights and table.

    Attributes:
        owner: who shares with whom; all works of one owner share that owner's part.
        seeds, labels: one per image; a label of None draws without a class.
        strip: frames of each image's denoising strip; 0 keeps none.
        preview_every: steps between previews of each image; 0 shows none.
        isolated: never to share a batch, because it may have killed a worker.
    """

    id: str
    owner: str
    weights: Weights
    table: Table
    seeds: tuple[int, ...]
    labels: tuple[int | None, ...]
    guidance_scale: float = 1.0
    clip: bool = True
    strip: int = 0
    preview_every: int = 0
    isolated: bool = False

    @property
    def places(self) -> int:
        """Places that all its images take in the network's batch."""
        scale = self.guidance_scale
        return sum(evaluations(scale, conditional=label is not None) for label in self.labels)

    @property
    def evaluations(self) -> int:
        """Network evaluations that it takes in all; a guided image's step takes two."""
        return self.places * self.table.steps

    def rows(self) -> list["Row"]:
        """Its images, not yet begun.

        Raises:
            ValueError: it draws without a class, which these weights cannot.
        """
        if self.weights.null_class is None and self.weights.classes:
            conditional = all(label is not None for label in self.labels)
            if needs_null_class(self.guidance_scale, conditional=conditional):
                raise ValueError(f"{self.weights.version} has no null class to draw without one")
        t = self.table
        columns = np.stack([t.t, t.p, t.q, t.a, t.b, t.c, t.d], axis=1).astype(np.float32)
        moments = frozenset(strip_steps(t.steps, self.strip))
        return [Row(self, index, columns, moments) for index in range(len(self.seeds))]


@dataclass(eq=False)
class Row:
    """One image in the making, which can pause and go on anywhere.

    Attributes:
        columns: (K, 7) float32: t, p, q, a, b, c, d of each step.
        moments: steps before which x belongs to the strip; K is the picture itself.
        k: steps made.
        slot: where its pixels are (`batch`); None before the first step.
        noise: of steps to come, by step; drawn some ahead, because few rows cost what many do.
    """

    work: Work
    index: int
    columns: npt.NDArray[np.float32]
    moments: frozenset[int]
    k: int = 0
    slot: int | None = None
    frames: list[Pixels] = field(default_factory=list)
    noise: dict[int, Tensor] = field(default_factory=dict)

    @property
    def label(self) -> int | None:
        """The class to draw; None where no class or guidance 0 makes it unconditional."""
        return None if self.work.guidance_scale == 0 else self.work.labels[self.index]

    @property
    def guided(self) -> bool:
        """Whether the row needs a second, unconditional evaluation."""
        return self.places == 2

    @property
    def places(self) -> int:
        """Places taken in the network's batch: evaluations that a step takes."""
        return evaluations(self.work.guidance_scale, conditional=self.label is not None)

    @property
    def evaluations(self) -> int:
        """Network evaluations that it takes in all."""
        return self.places * len(self.columns)

    @property
    def evaluations_made(self) -> int:
        """Of these, how many are made."""
        return self.places * self.k

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
