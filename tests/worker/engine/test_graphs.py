"""Steps of one fixed size over persistent slots, as graphs make them (plain calls without CUDA)."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cores import Cores
from models.sampler import SAMPLERS
from models.unet import UNet
from tests.support import tiny_config
from tests.worker.engine.fake import alone, fake_weights, pictures, run, work
from tests.worker.engine.test_engine import WORKS
from worker.engine.engine import Engine
from worker.engine.graphs import GraphBatch
from worker.engine.precision import Plan, plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights
from worker.engine.work import Event, ImageDone, Preview

GRAPHS = Plan((8,), graphs=True)


@given(others=st.lists(WORKS, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_graphs_draw_what_plain_steps_draw(others: list[dict[str, Any]]) -> None:
    engine, weights = Engine(GRAPHS), fake_weights()
    events: list[Event] = []
    works = []
    for i, description in enumerate(others):
        fields = {k: v for k, v in description.items() if k not in ("joins_at", "label")}
        labels = (description["label"],) * len(fields["seeds"])
        works.append(work(f"w{i}", weights, labels=labels, **fields))
        engine.add(works[-1])
        events += engine.step()
    together = pictures(events + run(engine))
    for one in works:
        for key, expected in alone(one).items():
            assert together[key] == expected


def test_previews_strips_and_cancels_are_the_same() -> None:
    drawn: list[list[Any]] = []
    for chosen in (Plan((8,)), GRAPHS):
        engine, weights = Engine(chosen), fake_weights()
        engine.add(work("gone", weights, seeds=(4, 5), labels=(0, 1), steps=9))
        engine.add(work("w", weights, steps=5, strip=4, preview_every=2, sampler="ddpm"))
        events = engine.step()
        assert engine.cancel("gone")
        events += run(engine)
        drawn.append(
            [
                (e.index, e.pixels.tolist(), [frame.tolist() for frame in e.frames])
                if isinstance(e, ImageDone)
                else (e.step, e.pixels.tolist())
                for e in events
                if isinstance(e, ImageDone | Preview)
            ]
        )
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 3


def test_more_rows_than_slots_get_more_slots() -> None:
    engine, weights = Engine(Plan((2,), graphs=True)), fake_weights()
    many: dict[str, Any] = {"seeds": tuple(range(20)), "labels": (0,) * 20, "steps": 3}
    for i in range(3):
        engine.add(work(f"w{i}", weights, owner=f"o{i}", **many))
    drawn = pictures(run(engine))
    assert len(drawn) == 60
    expected = alone(work("w0", weights, **many), (2,))
    assert all(drawn[key] == expected[key] for key in expected)


def test_slots_that_find_no_memory_leave_the_graphs_with_the_old_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, weights = Engine(Plan((2, 4), graphs=True)), fake_weights()
    batch = engine.prepare(weights)
    capture, captured = GraphBatch._captured, list[int]()

    def cramped(self: GraphBatch, size: int) -> Any:
        captured.append(size)
        if len(captured) == 2:
            raise torch.OutOfMemoryError("out of memory")
        return capture(self, size)

    monkeypatch.setattr(GraphBatch, "_captured", cramped)
    before = batch._slots, list(batch._free)
    with pytest.raises(torch.OutOfMemoryError):
        batch._grow(100)
    assert captured == [2, 4]
    assert batch._slots is before[0]
    assert batch._free == before[1]
    engine.add(work("w", weights, seeds=(1, 2), labels=(0, 1)))
    assert pictures(run(engine)) == alone(work("w", fake_weights(), seeds=(1, 2), labels=(0, 1)))


def test_fast_takes_the_smallest_graph_that_holds_a_step() -> None:
    engine = Engine(Plan((2, 4, 8), graphs=True))
    engine.add(work("w", fake_weights(), seeds=(1, 2, 3), labels=(0, 1, 2), steps=2))
    engine.step()
    assert (engine.last.places, engine.last.computed) == (3, 4)


@pytest.mark.gpu
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_cuda_graphs_draw_the_same_bits_whoever_shares_the_step(sampler: str) -> None:
    torch.manual_seed(1)
    device = torch.device("cuda")
    unet = UNet(tiny_config()).eval().to(device, torch.bfloat16)
    chosen = plan("exact", device=device, cores=1)
    weights = Weights("tiny@1", unet, (1, 8, 8), Condition.of_classes(3), torch.bfloat16, device)
    weights = probe(weights, chosen, Cores(1))
    watched: dict[str, Any] = {
        "seeds": (5, 2**62),
        "labels": (0, None),
        "sampler": sampler,
        "guidance_scale": 2.0,
    }
    engine = Engine(chosen)
    engine.add(work("watched", weights, **watched))
    expected = pictures(run(engine))
    for i in range(6):
        engine.add(work(f"w{i}", weights, seeds=(i,), steps=3 + i, sampler=SAMPLERS[i % 4]))
        if i == 3:
            engine.add(work("watched", weights, **watched))
        engine.step()
    together = pictures(run(engine))
    assert all(together[key] == expected[key] for key in expected)
