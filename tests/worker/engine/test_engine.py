"""The engine on a fake network of a few lines: sharing, joining, pausing, cancelling, failing."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.guidance import WHOLE
from models.noise import normal
from models.sample import draw, to_uint8
from models.sampler import SAMPLERS, Sampler
from models.unet import UNet
from tests.support import tiny_config
from tests.worker.engine.fake import SHAPE, FakeNetwork, alone, fake_weights, pictures, run, work
from worker.engine.engine import Engine
from worker.engine.precision import Plan
from worker.engine.weights import Condition, Weights
from worker.engine.work import (
    Event,
    ImageDone,
    Preview,
    Started,
    WorkDone,
    WorkFailed,
)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("guidance_scale", "interval"),
    [(0.0, WHOLE), (1.0, WHOLE), (2.5, WHOLE), (2.5, (0.3, 0.7)), (2.5, (1.0, 1.0))],
)
def test_engine_draws_what_the_plain_loop_draws(
    sampler: Sampler, guidance_scale: float, interval: tuple[float, float]
) -> None:
    torch.manual_seed(1)
    unet = UNet(tiny_config()).eval()
    weights = Weights("tiny@1", unet, (1, 8, 8), Condition.of_classes(3))
    one = work(
        "w",
        weights,
        seeds=(5, 6),
        labels=(0, 2),
        sampler=sampler,
        guidance_scale=guidance_scale,
        guidance_interval=interval,
    )
    expected = draw(
        unet,
        one.table,
        seeds=torch.tensor(one.seeds),
        labels=torch.tensor([0, 2]),
        guidance_scale=guidance_scale,
        guidance_interval=interval,
    )
    drawn = alone(one)
    for index, picture in enumerate(to_uint8(expected).permute(0, 2, 3, 1)):
        difference = picture.int() - torch.tensor(drawn["w", index])
        assert difference.abs().max() <= 1


WORKS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5).map(tuple),
    label=st.sampled_from([None, 0, 1, 2]),
    steps=st.integers(1, 9),
    sampler=st.sampled_from(SAMPLERS),
    guidance_scale=st.sampled_from([0.0, 1.0, 1.7]),
    guidance_interval=st.sampled_from([WHOLE, (0.3, 0.8)]),
    owner=st.sampled_from(["a", "b", "c"]),
    joins_at=st.integers(0, 6),
)


@given(others=st.lists(WORKS, min_size=1, max_size=6), sizes=st.sampled_from([(4,), (1, 2, 8)]))
@settings(max_examples=60, deadline=None)
def test_a_picture_does_not_depend_on_its_neighbours(
    others: list[dict[str, Any]], sizes: tuple[int, ...]
) -> None:
    weights = fake_weights()
    engine = Engine(Plan(sizes))
    waiting = []
    for i, description in enumerate(others):
        joins_at, label = description["joins_at"], description["label"]
        fields = {k: v for k, v in description.items() if k not in ("joins_at", "label")}
        labels = (label,) * len(fields["seeds"])
        waiting.append((joins_at, work(f"w{i}", weights, labels=labels, **fields)))
    events: list[Event] = []
    for now in range(7):
        for joins_at, one in waiting:
            if joins_at == now:
                engine.add(one)
        events += engine.step()
    events += run(engine)
    together = pictures(events)
    for _, one in waiting:
        for key, expected in alone(one, sizes).items():
            assert together[key] == expected
    assert [e.id for e in events if isinstance(e, WorkDone)].count("w0") == 1


def test_a_new_work_takes_its_first_step_at_once() -> None:
    weights = fake_weights()
    engine = Engine(Plan((4,)))
    engine.add(work("long", weights, steps=50))
    engine.step()
    engine.add(work("short", weights, steps=2))
    assert Started("short") in engine.step()
    assert WorkDone("short") in engine.step()
    assert engine.row_steps("long") == 3


@pytest.mark.parametrize(("sizes", "evaluated"), [((2, 4, 8), [4, 2]), ((4,), [4, 4])])
def test_guided_rows_take_two_places_and_chunks_are_filled_up(
    sizes: tuple[int, ...], evaluated: list[int]
) -> None:
    network = FakeNetwork()
    engine = Engine(Plan(sizes, places=8))
    engine.add(
        work(
            "w",
            fake_weights(network=network),
            seeds=(1, 2, 3),
            labels=(0, 1, None),
            guidance_scale=2.0,
        )
    )
    assert engine.demand == 5
    engine.step()
    assert network.batches == evaluated
    assert (engine.last.places, engine.last.computed) == (5, sum(evaluated))


def test_cancel_frees_rows_and_leaves_neighbours_alone() -> None:
    weights = fake_weights()
    kept, dropped = work("kept", weights, seeds=(9,)), work("dropped", weights, steps=50)
    engine = Engine(Plan((8,)))
    engine.add(kept)
    engine.add(dropped)
    engine.step()
    assert engine.cancel("dropped")
    assert not engine.cancel("dropped")
    assert engine.demand == 1
    assert pictures(run(engine)) == alone(kept)


def test_a_failing_network_fails_the_works_of_its_batch_and_no_others() -> None:
    def broken(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        raise RuntimeError("out of luck")

    engine = Engine(Plan((4,)))
    engine.add(work("bad", fake_weights("bad@1", broken)))
    engine.add(work("good", fake_weights("good@1")))
    events = run(engine)
    assert [e.id for e in events if isinstance(e, WorkFailed)] == ["bad"]
    assert WorkDone("good") in events


def test_a_broken_device_is_no_request_s_fault() -> None:
    def broken(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    engine = Engine(Plan((4,)))
    for name in ("a", "b"):
        engine.add(work(name, fake_weights("any@1", broken)))
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        run(engine)
    assert not engine.idle  # whoever starts in this process's place takes them up again


class Poisoned(FakeNetwork):
    """Raises whenever it sees a class."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        if bool((labels == self.label).any()):
            raise RuntimeError("out of luck")
        return super().__call__(x, t, labels)


def test_only_the_work_that_fails_alone_fails() -> None:
    weights = fake_weights(network=Poisoned(2))
    engine = Engine(Plan((8,)))
    good = [work(f"good {i}", weights, labels=(1,), steps=6, seeds=(i,)) for i in range(4)]
    for one in good[:3]:
        engine.add(one)
    engine.step()
    engine.add(work("bad", weights, labels=(2,)))
    engine.add(good[3])
    events = run(engine)
    assert [e.id for e in events if isinstance(e, WorkFailed)] == ["bad"]
    drawn = pictures(events)
    for one in good:
        assert drawn[one.id, 0] == alone(one)[one.id, 0]


def test_a_work_that_fails_only_in_company_is_finished_alone() -> None:
    class Unsociable(FakeNetwork):
        def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
            assert labels is not None
            if bool((labels == 1).any()) and bool((labels == 2).any()):
                raise RuntimeError("not with them")
            return super().__call__(x, t, labels)

    weights = fake_weights(network=Unsociable())
    engine = Engine(Plan((8,)))
    engine.add(work("a", weights, labels=(1,), steps=20))
    engine.add(work("b", weights, labels=(2,), steps=20))
    events = run(engine)
    assert {e.id for e in events if isinstance(e, WorkDone)} == {"a", "b"}


def test_an_isolated_work_shares_no_batch() -> None:
    network = FakeNetwork()
    weights = fake_weights(network=network)
    engine = Engine(Plan((4,)))
    engine.add(work("others", weights, seeds=(1, 2, 3), labels=(0,) * 3, steps=4))
    engine.step()
    engine.add(work("isolated", weights, steps=3, isolated=True))
    rows = []
    while not engine.idle:
        engine.step()
        rows.append(engine.last.rows)
    assert rows == [3, 1, 3, 1, 3, 1]  # by turns: a large one holds nobody up


def test_an_isolated_work_draws_what_it_draws_in_company() -> None:
    weights = fake_weights()
    engine = Engine(Plan((4,)))
    engine.add(work("others", weights, seeds=(1, 2, 3), labels=(0,) * 3, steps=9))
    engine.add(work("isolated", weights, seeds=(7,), steps=5, isolated=True))
    drawn = pictures(run(engine))
    assert (
        drawn["isolated", 0] == alone(work("isolated", weights, seeds=(7,), steps=5))["isolated", 0]
    )


@pytest.mark.parametrize(
    ("frames", "steps", "shown"), [(4, 9, 4), (16, 5, 6), (1, 5, 1), (0, 5, 0)]
)
def test_a_strip_shows_noise_first_and_the_picture_last(
    frames: int, steps: int, shown: int
) -> None:
    one = work("w", fake_weights(), strip=frames, steps=steps, sampler="ddpm")
    engine = Engine(Plan((4,)))
    engine.add(one)
    (done,) = [e for e in run(engine) if isinstance(e, ImageDone)]
    assert len(done.frames) == shown
    if frames:
        assert np.array_equal(done.frames[-1], done.pixels)
    if frames > 1:
        noise = normal(torch.tensor([1]), torch.tensor([0]), SHAPE)
        assert np.array_equal(done.frames[0][..., 0], to_uint8(noise)[0, 0].numpy())


def test_previews_come_every_so_many_steps_and_change_nothing() -> None:
    watched = work("w", fake_weights(), steps=7, preview_every=3, seeds=(1, 2), labels=(0, 0))
    engine = Engine(Plan((4,)))
    engine.add(watched)
    events = run(engine)
    previews = [(e.index, e.step) for e in events if isinstance(e, Preview)]
    assert previews == [(0, 3), (1, 3), (0, 6), (1, 6)]
    plain = work("w", fake_weights(), steps=7, seeds=(1, 2), labels=(0, 0))
    assert pictures(events) == alone(plain, (4,))


@given(others=st.lists(WORKS, min_size=1, max_size=4), place=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_exact_pictures_are_the_same_bits_with_a_real_network(
    others: list[dict[str, Any]], place: int
) -> None:
    torch.manual_seed(1)
    weights = Weights("tiny@1", UNet(tiny_config()).eval(), (1, 8, 8), Condition.of_classes(3))
    watched = work(
        "watched",
        weights,
        seeds=(7, 2**62),
        labels=(1, None),
        sampler="dpmpp_2m_sde",
        guidance_scale=1.7,
    )
    engine = Engine(Plan((8,)))
    for i, description in enumerate(others):
        if i == place:
            engine.add(watched)
        fields = {k: v for k, v in description.items() if k not in ("joins_at", "label")}
        labels = (description["label"],) * len(fields["seeds"])
        engine.add(work(f"w{i}", weights, labels=labels, **fields))
        engine.step()
    if place >= len(others):
        engine.add(watched)
    together = pictures(run(engine))
    for key, expected in alone(watched).items():
        assert together[key] == expected


def test_a_neighbour_of_nan_is_unharmed() -> None:
    def poisoned(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        y = FakeNetwork()(x, t, labels)
        y[labels == 2] = float("nan")
        return y

    engine, weights = Engine(Plan((4,))), fake_weights(network=poisoned)
    engine.add(work("nan", weights, labels=(2,)))
    healthy = work("healthy", weights, labels=(1,))
    engine.add(healthy)
    assert pictures(run(engine))["healthy", 0] == alone(healthy)["healthy", 0]


def test_a_work_cannot_run_twice_at_once() -> None:
    engine = Engine(Plan((4,)))
    engine.add(work("w", fake_weights()))
    with pytest.raises(ValueError, match="running already"):
        engine.add(work("w", fake_weights()))


@pytest.mark.gpu
def test_engine_draws_on_cuda_what_it_draws_on_the_cpu() -> None:
    torch.manual_seed(1)
    unet = UNet(tiny_config()).eval()
    drawn = {}
    for device in ("cpu", "cuda"):
        weights = Weights(
            "tiny@1",
            unet.to(device),
            (1, 8, 8),
            Condition.of_classes(3),
            torch.float32,
            torch.device(device),
        )
        drawn[device] = alone(work("w", weights, seeds=(5,), labels=(0,), guidance_scale=2.0))
        difference = torch.tensor(drawn[device]["w", 0]) - torch.tensor(drawn["cpu"]["w", 0])
        assert difference.abs().max() <= 1
