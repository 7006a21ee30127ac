"""A step as one captured CUDA graph per chunk size: nothing in it waits for the host.

The graph replays over the same slots as plain steps do: gather the rows, evaluate the network at
every position, guide, advance, add the noise (Philox inside), write the rows back. What differs
from step to step comes in one pinned buffer, copied once; rows that are not there compute a spare
slot. Finished pictures leave through pinned memory, and an event says when they are there, so the
host prepares the next step meanwhile.

Where there is no CUDA the same code runs with plain calls in place of graphs: that is how it is
tested. Shapes: R = B = the chunk's size, rows and positions; else as in `batch`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.cores import Cores
from models.noise import normal
from worker.engine.batch import Batch, Moved, Outcome, Shown, as_pixels, hold
from worker.engine.chunks import Cut
from worker.engine.staging import Staged
from worker.engine.weights import Show, Weights
from worker.engine.work import Row

_SPARE = 0  # the slot of rows that are not there
_SLOTS_PER_PLACE = 4  # of the largest chunk: rows that take turns
_RING = 4  # host buffers: of the steps in flight, and the one that is being written
_WARM_UPS = 3
_FINAL = 1  # of what is seen: a frame of the strip, the picture, its preview


class GraphBatch(Batch):
    """The rows of one model that have begun, moved by graphs."""

    most_in_flight = 2  # that the device may be behind; then heartbeats wait for it

    def __init__(self, weights: Weights, cores: Cores, sizes: Sequence[int]) -> None:
        super().__init__(weights, cores, slots=_SLOTS_PER_PLACE * max(sizes) + 1)
        self._free.remove(_SPARE)
        self._cuda = weights.device.type == "cuda"
        self._host = [_Host.of(max(sizes), pinned=self._cuda) for _ in range(_RING)]
        self._sizes, self._turn = tuple(sizes), 0
        self._graphs: dict[int, _Graph] = {}
        self._capture()

    def advance(self, rows: Sequence[Row], cut: Cut) -> Outcome:
        """Move every row one step on, as soon as the device comes to it."""
        self._begin([row for row in rows if row.slot is None])
        graph = self._graphs[cut.computed]
        host = self._host[self._turn]
        self._turn = (self._turn + 1) % _RING
        host.wait()
        staged = host.staged(cut.computed)
        staged.fill(rows, cut, spare=_SPARE)
        graph.inputs.copy_(host.buffer[: len(graph.inputs)], non_blocking=True)
        graph.replay()
        moved = graph.moved
        wanted = [(row.k in row.moments, row.last, row.previewed) for row in rows]
        try:
            for i in hold(rows, moved):  # beside the graph: few rows are held to anything
                self._put(rows[i], moved.x[i], moved.estimate[i])
            outcome = self._leaving(wanted, moved, host)
        except Exception:
            # The graph has written what it moved, and the step will be made again.
            for i, row in enumerate(rows):
                self._put(row, moved.before[i], moved.previous[i])
            raise
        for row in rows:
            row.k += 1
        return outcome

    def _put(self, row: Row, x: Tensor, estimate: Tensor) -> None:
        state = self._slots[row.slot]
        state[0], state[1] = x, estimate

    def _leaving(
        self, wanted: list[tuple[bool, bool, bool]], moved: Moved, host: "_Host"
    ) -> Outcome:
        """What people wanted to see, on its way to the host."""
        pieces: list[Tensor] = []
        places: list[list[int | None]] = [[None] * 3 for _ in wanted]
        failed: dict[int, Exception] = {}
        for part, images in enumerate((moved.before, moved.x, moved.estimate)):
            rows = [i for i, want in enumerate(wanted) if want[part]]
            if rows:
                index = torch.tensor(rows, pin_memory=self._cuda)
                index = index.to(images.device, non_blocking=True)
                seen = self._seen(images[index], final=part == _FINAL)
                for i, pixels in zip(rows, seen, strict=True):
                    if isinstance(pixels, Exception):
                        failed[i] = pixels
                    else:
                        places[i][part] = len(pieces)
                        pieces.append(pixels)
        if not pieces:
            host.mark()
            return _Leaving(places, failed, torch.empty(0), None)
        stacked = torch.stack(pieces)
        if not self._cuda:
            return _Leaving(places, failed, stacked, None)
        there = torch.empty(stacked.shape, dtype=torch.uint8, pin_memory=True)
        there.copy_(stacked, non_blocking=True)
        return _Leaving(places, failed, there, host.mark())

    def _seen(self, images: Tensor, *, final: bool) -> Sequence[Tensor | Exception]:
        """Pixels of rows: latents decoded one by one, or guessed at."""
        w = self._weights
        if final and w.decode is not None:
            return [_decoded(w.decode, image) for image in images]
        return as_pixels(images if w.preview is None else w.preview(images)).unbind()

    def _grow(self, missing: int) -> None:
        """More slots; the graphs know the old ones: they are captured anew, or stay with them."""
        before = self._slots, self._conditions, list(self._free), self._graphs
        try:
            super()._grow(missing)
            self._capture()
        except BaseException:
            self._slots, self._conditions, self._free, self._graphs = before
            raise

    def _capture(self) -> None:
        self._graphs = {size: self._captured(size) for size in self._sizes}

    @torch.inference_mode()
    def _captured(self, size: int) -> "_Graph":
        device = self._weights.device
        inputs = torch.zeros(Staged.size(size, size), dtype=torch.uint8, device=device)
        staged = Staged.over(inputs, size, size)

        def step() -> Moved:
            z = normal(staged.seed, staged.noise, self._weights.shape)
            moved = self._move(staged, self._network, z)
            self._commit(staged, moved)
            return moved

        if not self._cuda:
            return _Plain(inputs, step)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):  # of the spare slot: libraries choose their kernels
                step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            moved = step()
        return _Captured(inputs, graph, moved)

    def _network(self, x: Tensor, t: Tensor, conditions: Tensor | None) -> Tensor:
        if self._cuda:
            x = x.contiguous(memory_format=torch.channels_last)
        return self._weights.forward(x, t, conditions)


def _decoded(decode: Show, latent: Tensor) -> Tensor | Exception:
    """A latent's pixels, or why there are none: no reason to make the step, which is made, again.

    Raises:
        AcceleratorError: the device is broken for this process.
    """
    try:
        return as_pixels(decode(latent[None]))[0]
    except torch.AcceleratorError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this picture's
        return error


class _Graph:
    """A step of one size: its inputs, on the device, and what it moved."""

    inputs: Tensor
    moved: Moved

    def replay(self) -> None:
        """Do it, or have it done."""
        raise NotImplementedError


class _Captured(_Graph):
    def __init__(self, inputs: Tensor, graph: torch.cuda.CUDAGraph, moved: Moved) -> None:
        self.inputs, self.moved, self._graph = inputs, moved, graph

    def replay(self) -> None:
        self._graph.replay()


class _Plain(_Graph):
    def __init__(self, inputs: Tensor, step: Callable[[], Moved]) -> None:
        self.inputs, self._step = inputs, step

    def replay(self) -> None:
        self.moved = self._step()


@dataclass
class _Host:
    """A host buffer, not to be written before the device has read it."""

    buffer: Tensor
    read: torch.cuda.Event | None

    @classmethod
    def of(cls, size: int, *, pinned: bool) -> "_Host":
        length = Staged.size(size, size)
        buffer = torch.zeros(length, dtype=torch.uint8, pin_memory=pinned)
        return cls(buffer, torch.cuda.Event() if pinned else None)  # type: ignore[no-untyped-call]

    def staged(self, size: int) -> Staged:
        return Staged.over(self.buffer[: Staged.size(size, size)], size, size)

    def mark(self) -> torch.cuda.Event | None:
        """All that was asked of the device so far comes before this."""
        if self.read is None:
            return None
        self.read.record()
        return self.read

    def wait(self) -> None:
        if self.read is not None:
            self.read.synchronize()


class _Leaving(Outcome):
    """Pixels on their way to the host: which row's frame, picture and preview is which.

    Args:
        failed: rows whose picture could not be decoded, and why.
    """

    def __init__(
        self,
        places: list[list[int | None]],
        failed: Mapping[int, Exception],
        pixels: Tensor,
        there: torch.cuda.Event | None,
    ) -> None:
        self._places, self._failed = places, failed
        self._pixels, self._there = pixels, there

    @property
    def ready(self) -> bool:
        return self._there is None or bool(self._there.query())  # type: ignore[no-untyped-call]

    def shown(self) -> list[Shown]:
        if self._there is not None:
            self._there.synchronize()
        pixels = self._pixels.numpy()
        shown = [
            Shown(*(None if i is None else pixels[i].copy() for i in places))
            for places in self._places
        ]
        for i, error in self._failed.items():
            shown[i] = replace(shown[i], picture=error)
        return shown
