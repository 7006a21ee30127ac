"""Out of memory: a step is all or nothing, the next ones are smaller, and capacity comes back."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tests.worker.engine.fake import FakeNetwork, alone, fake_weights, pictures, run, work
from worker.engine.engine import Engine
from worker.engine.memory import OutOfMemory, Room
from worker.engine.precision import Plan
from worker.engine.work import Event, ImageDone, Preview, WorkDone, WorkFailed


class Cramped(FakeNetwork):
    """Has memory for batches up to a size, which may change."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        if len(x) > self.largest:
            raise torch.OutOfMemoryError("out of memory")
        return super().__call__(x, t, labels)


class Starved(TorchDispatchMode):
    """The n-th operation of torch finds no memory."""

    def __init__(self, n: int = 0) -> None:
        super().__init__()
        self.n, self.operations = n, 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if not func.is_view:  # which takes no memory
            self.operations += 1
            if self.operations == self.n:
                raise torch.OutOfMemoryError("out of memory")
        return func(*args, **(kwargs or {}))


def watched(event: Event) -> Any:
    """An event as something to compare."""
    if isinstance(event, ImageDone):
        return event.id, event.index, event.pixels.tolist(), [f.tolist() for f in event.frames]
    if isinstance(event, Preview):
        return event.id, event.index, event.step, event.pixels.tolist()
    return event


def drawn(starved: Starved, plan: Plan) -> list[Any]:
    """Three works, one of which joins late, with previews and strips, under a lack of memory."""
    weights = fake_weights()
    engine = Engine(plan)
    engine.prepare(weights)
    watch: dict[str, Any] = {"strip": 4, "preview_every": 1}
    engine.add(work("a", weights, seeds=(1, 2), labels=(0, 1), steps=2, **watch))
    events: list[Event] = []
    late = work("b", weights, seeds=(3,), guidance_scale=2.0, steps=2, sampler="ddpm", **watch)
    with starved:
        events += engine.step()
        engine.add(late)
        events += run(engine)
    return sorted(repr(watched(event)) for event in events)


@pytest.mark.parametrize(
    ("plan", "every"),
    [(Plan((1, 2, 4, 8)), 2), (Plan((8,)), 13), (Plan((8,), graphs=True), 1)],
)
def test_whatever_finds_no_memory_nothing_is_lost_doubled_or_different(
    plan: Plan, every: int
) -> None:
    plenty = Starved()
    expected = drawn(plenty, plan)
    assert plenty.operations > 100
    for n in range(1, plenty.operations + 1, every):
        assert drawn(Starved(n), plan) == expected, f"operation {n} of {plenty.operations}"


def test_without_memory_batches_are_smaller_and_grow_back() -> None:
    network = Cramped(4)
    engine, weights = Engine(Plan((1, 2, 4, 8, 16))), fake_weights(network=network)
    engine.add(work("w", weights, seeds=tuple(range(12)), labels=(0,) * 12, steps=200))
    for _ in range(4):
        engine.step()
    assert engine.capacity == 6
    assert max(network.batches) <= 4
    network.largest = 16
    while engine.capacity < 16:
        assert engine.steps < 200
        engine.step()
    assert pictures(run(engine)) == alone(
        work("w", fake_weights(), seeds=tuple(range(12)), labels=(0,) * 12, steps=200)
    )


def test_a_size_that_never_fits_is_tried_ever_more_seldom() -> None:
    room, tried = Room(8), []
    room.ran_out(smaller=4)
    for step in range(5000):
        room.step_went_well()
        if room.places == 8:
            tried.append(step)
            room.ran_out(smaller=4)
    pauses = np.diff(tried)
    assert len(tried) > 4
    assert (pauses[1:] >= 1.9 * pauses[:-1]).all()


def test_a_model_that_needs_much_memory_leaves_others_their_batches() -> None:
    cramped, roomy = Cramped(2), FakeNetwork()
    engine = Engine(Plan((2, 4, 8)))
    eight: dict[str, Any] = {"seeds": tuple(range(8)), "labels": (0,) * 8}
    engine.add(work("cramped", fake_weights("cramped@1", cramped), **eight))
    engine.add(work("roomy", fake_weights("roomy@1", roomy), **eight))
    run(engine)
    assert max(cramped.batches) == 2
    assert set(roomy.batches) == {8}


def test_the_one_size_of_exact_stays_or_the_work_fails_by_name() -> None:
    network = Cramped(4)
    engine, weights = Engine(Plan((8,))), fake_weights("big@7", network)
    engine.add(work("w", weights, seeds=(1, 2, 3, 4), labels=(0,) * 4))
    events = run(engine)
    assert network.batches == []  # no smaller batch was evaluated in its place
    (failed,) = events
    assert isinstance(failed, WorkFailed)
    assert isinstance(failed.error, OutOfMemory)
    assert "no memory to evaluate big@7 at 8 places" in str(failed.error)


def test_without_memory_for_a_single_row_the_work_fails_and_later_ones_do_not() -> None:
    network = Cramped(1)
    engine, weights = Engine(Plan((2, 4))), fake_weights(network=network)
    engine.add(work("w", weights))
    (event,) = run(engine)
    assert isinstance(event, WorkFailed)
    network.largest = 4
    engine.add(work("later", weights))
    assert WorkDone("later") in run(engine)
