"""One model's rows on the device, each in a slot of its own, and the arithmetic of a step.

A step happens for all its rows or, if it raises, for none: whatever can fail (the network, noise,
pictures for people) comes first, on copies; then one operation writes every row's new state. On a
GPU the whole step is one captured graph (`graphs`); here it is plain calls.

Shapes: n rows of (C, H, W), evaluated at b positions; slots are (S, 2, C, H, W), their conditions
(S, 2, ...).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from weakref import proxy

import torch
from torch import Tensor

from models.cores import Cores
from models.guidance import guide
from models.noise import normal
from models.sample import to_uint8
from models.start import mix
from models.step import Coefficients, advance
from worker.engine.chunks import Cut
from worker.engine.staging import Staged
from worker.engine.weights import Show, Weights
from worker.engine.work import Pixels, Row

_FIRST_SLOTS = 16
_NOISE_AHEAD = 16  # images of noise that are drawn at once, at least

Evaluate = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Shown:
    """What a step has shown of a row; None where nobody wanted to see it.

    Attributes:
        frame: of its strip, before the step.
        picture: the finished image, or why it could not be decoded.
        preview: the estimate of it.
    """

    frame: Pixels | None = None
    picture: Pixels | Exception | None = None
    preview: Pixels | None = None


@dataclass(frozen=True)
class Moved:
    """Rows before a step and after it, and both's estimates of x_0: (n, C, H, W) each."""

    before: Tensor
    previous: Tensor
    x: Tensor
    estimate: Tensor


class Outcome:
    """What a step shows, once it is there: pictures of latents are decoded apart from steps."""

    def __init__(
        self, shown: list[Shown], pictures: Mapping[int, "Future[Pixels | Exception]"]
    ) -> None:
        self._shown, self._pictures = shown, pictures

    @property
    def ready(self) -> bool:
        """Whether `shown` answers at once."""
        return all(picture.done() for picture in self._pictures.values())

    def shown(self) -> list[Shown]:
        """What is to be seen of each row."""
        for i, picture in self._pictures.items():
            self._shown[i] = replace(self._shown[i], picture=picture.result())
        return self._shown


class Batch:
    """The rows of one model that have begun.

    Attributes:
        most_in_flight: steps whose pictures may be on their way; then steps wait for them.
    """

    most_in_flight = 32

    def __init__(self, weights: Weights, cores: Cores, *, slots: int = _FIRST_SLOTS) -> None:
        self._weights: Weights = proxy(weights)  # whose batch this is: it goes when they go
        self._cores = cores
        self._slots, self._conditions = self._room_for(slots)
        self._free = list(range(slots))
        self._decoder = ThreadPoolExecutor(1, "decoder") if weights.decode else None

    def release(self, row: Row) -> None:
        """A row needs its slot no more."""
        if row.slot is not None:
            self._free.append(row.slot)
            row.slot = None

    def advance(self, rows: Sequence[Row], cut: Cut) -> Outcome:
        """Move every row one step on.

        Args:
            cut: of the rows' places.
        """
        self._begin([row for row in rows if row.slot is None])
        staged = Staged.over(
            torch.empty(Staged.size(len(rows), cut.computed), dtype=torch.uint8),
            len(rows),
            cut.computed,
        )
        staged.fill(rows, cut)
        z = _step_noise(rows, self._weights) if staged.noisy else None
        moved = self._move(staged, partial(self._chunks, cut), z)
        hold(rows, moved)
        shown = self._shown(rows, moved)
        self._commit(staged, moved)
        ended = [i for i, row in enumerate(rows) if row.last]
        for row in rows:
            row.noise.pop(row.k, None)
            row.k += 1
        return Outcome(shown, self._decoded(ended, moved.x))

    def _move(self, s: Staged, evaluate: Evaluate, z: Tensor | None) -> Moved:
        """One step of all rows on copies: nothing is written.

        Args:
            evaluate: the network at every position.
            z: (n, C, H, W) this step's noise; None: no row wants any.
        """
        t, p, q, a, b, c, d, bound, scale = s.columns.unbind()
        before, previous = self._slots[s.slot].unbind(1)
        conditions = None
        if self._weights.condition is not None:
            conditions = self._conditions[s.slot[s.source], s.which]
        outputs = evaluate(before[s.source].to(self._weights.dtype), t[s.source], conditions)
        own, null = outputs[s.own].float(), outputs[s.null].float()
        # Chosen, not added: a row that is not guided, or without noise, keeps its bits.
        output = torch.where(_rows(s.own != s.null), guide(null, own, scale), own)
        k = Coefficients(p, q, a, b, c, d, bound)
        x, estimate = advance(before, output, previous, None, k)
        if z is not None:
            x = torch.where(_rows(d != 0), x + _rows(d) * z, x)
        return Moved(before, previous, x, estimate)

    def _shown(self, rows: Sequence[Row], moved: Moved) -> list[Shown]:
        """What is to be seen at once; a latent's picture is not."""
        preview = self._weights.preview
        frames = _pixels(moved.before, [row.k in row.moments for row in rows], preview)
        previews = _pixels(moved.estimate, [row.previewed for row in rows], preview)
        here = self._weights.decode is None
        pictures = _pixels(moved.x, [here and row.last for row in rows])
        return [Shown(*one) for one in zip(frames, pictures, previews, strict=True)]

    def _decoded(self, rows: list[int], latents: Tensor) -> "dict[int, Future[Pixels | Exception]]":
        """The pictures of these rows, on their way in a thread of their own."""
        if self._decoder is None:
            return {}
        return {i: self._decoder.submit(decoded, self._weights, latents[i].clone()) for i in rows}

    def _commit(self, s: Staged, moved: Moved) -> None:
        self._slots.index_copy_(0, s.slot, torch.stack([moved.x, moved.estimate], 1))

    def _begin(self, fresh: list[Row]) -> None:
        """Give rows slots, with their first noise and their conditions in them."""
        if not fresh:
            return
        missing = len(fresh) - len(self._free)
        if missing > 0:
            self._grow(missing)
        chosen = self._free[-len(fresh) :]
        x = _first_states(fresh, self._weights)
        # A new row has no estimate yet: zeros, for what its slot held before may be NaN.
        state = torch.stack([x, torch.zeros_like(x)], 1)
        where = torch.tensor(chosen, device=self._weights.device)
        if self._weights.condition is not None:
            conditions = torch.stack([self._pair(row) for row in fresh])
            self._conditions.index_copy_(0, where, conditions.to(self._weights.device))
        self._slots.index_copy_(0, where, state)
        del self._free[-len(fresh) :]
        for row, slot in zip(fresh, chosen, strict=True):
            row.slot = slot

    def _grow(self, missing: int) -> None:
        old = len(self._slots)
        slots, conditions = self._room_for(max(2 * old, old + missing))
        slots[:old], conditions[:old] = self._slots, self._conditions
        self._slots, self._conditions = slots, conditions
        self._free += range(old, len(slots))

    def _pair(self, row: Row) -> Tensor:
        """What a row is drawn for, and its counterpart: (2, ...)."""
        assert self._weights.condition is not None
        null = self._weights.condition.null
        own = null if row.condition is None else row.condition
        assert own is not None, "refused when it came"
        other = null if row.work.negative is None else row.work.negative
        dtype = self._weights.condition.dtype
        return torch.stack([own, own if other is None else other]).to(dtype)

    def _room_for(self, slots: int) -> tuple[Tensor, Tensor]:
        w = self._weights
        states = torch.zeros((slots, 2, *w.shape), device=w.device)
        if w.condition is None:
            return states, torch.zeros((slots, 2), device=w.device)
        shape, dtype = w.condition.shape, w.condition.dtype
        return states, torch.zeros((slots, 2, *shape), dtype=dtype, device=w.device)

    def _chunks(self, cut: Cut, x: Tensor, t: Tensor, conditions: Tensor | None) -> Tensor:
        """The network at every position, each core its own share: (b, C, H, W)."""
        forward = self._weights.forward

        def share(slices: list[slice]) -> list[Tensor]:
            with torch.inference_mode():  # of this thread
                return [
                    forward(x[part], t[part], None if conditions is None else conditions[part])
                    for part in slices
                ]

        shares = self._cores.map(share, _slices(cut))
        return torch.cat([output for outputs in shares for output in outputs])


def _slices(cut: Cut) -> Iterator[list[slice]]:
    """Each core's chunks, as slices of the positions."""
    start = 0
    for sizes in cut.shares:
        slices = []
        for size in sizes:
            slices.append(slice(start, start + size))
            start += size
        yield slices


def _rows(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _pixels(images: Tensor, wanted: list[bool], preview: Show | None = None) -> list[Pixels | None]:
    """The wanted ones of (n, C, H, W) as (H, W, C) uint8, None in place of the others."""
    places = [i for i, want in enumerate(wanted) if want]
    if not places:
        return [None] * len(wanted)
    chosen = images[places] if preview is None else preview(images[places])
    shown = iter(as_pixels(chosen).numpy())
    return [next(shown) if want else None for want in wanted]


def decoded(weights: Weights, latents: Tensor) -> Pixels | Exception:
    """A latent's picture, (H, W, C) uint8; alone, so that its bits depend on no other."""
    assert weights.decode is not None
    try:
        with torch.inference_mode():
            pixels: Pixels = as_pixels(weights.decode(latents[None]))[0].cpu().numpy()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this picture's
        return error
    return pixels


def as_pixels(images: Tensor) -> Tensor:
    """(n, C, H, W) floats as (n, H, W, C) uint8, on the same device."""
    return to_uint8(images).permute(0, 2, 3, 1).contiguous()


def hold(rows: Sequence[Row], moved: Moved) -> list[int]:
    """Put known places back into rows that were moved, where they are held to any; which rows."""
    held = [i for i, row in enumerate(rows) if row.first is not None]
    for i in held:
        row = rows[i]
        assert row.work.known is not None
        assert row.first is not None
        moved.x[i], moved.estimate[i] = row.work.known.hold(
            row.work.table, row.k, moved.x[i], moved.estimate[i], row.first
        )
    return held


def _first_states(rows: Sequence[Row], weights: Weights) -> Tensor:
    """What rows begin with, (n, C, H, W): noise, for most of them."""
    x = _noise([(row, 0) for row in rows], weights)
    for i, row in enumerate(rows):
        work = row.work
        if work.variation is not None:
            seeds, share = work.variation
            seed = torch.tensor([seeds[row.index]], device=weights.device)
            x[i] = mix(x[i], normal(seed, torch.zeros_like(seed), weights.shape)[0], share)
        if work.known is not None:
            row.first = None if work.known.kept is None else x[i].clone()
            x[i] = work.known.first(work.table, x[i])
    return x


def _step_noise(rows: Sequence[Row], weights: Weights) -> Tensor:
    """The noise of each row's present step, (n, C, H, W); zeros where it wants none."""
    noisy = [row for row in rows if row.noise_scale != 0]
    ahead = max(1, _NOISE_AHEAD // len(noisy))
    missing = [
        (row, step)
        for row in noisy
        if row.k not in row.noise
        for step in range(row.k, min(row.k + ahead, len(row.columns) - 1))
    ]
    if missing:
        drawn = _noise([(row, step + 1) for row, step in missing], weights)
        for (row, step), z in zip(missing, drawn, strict=True):
            row.noise[step] = z
    none = torch.zeros(weights.shape)
    return torch.stack([row.noise[row.k] if row.noise_scale != 0 else none for row in rows])


def _noise(wanted: list[tuple[Row, int]], weights: Weights) -> Tensor:
    """Noise by row and index (0: x_T; k + 1: step k), in one go: (len(wanted), C, H, W)."""
    device = weights.device
    seeds = torch.tensor([row.work.seeds[row.index] for row, _ in wanted], device=device)
    index = torch.tensor([index for _, index in wanted], device=device)
    return normal(seeds, index, weights.shape)
