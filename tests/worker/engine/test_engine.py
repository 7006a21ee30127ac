"""The engine on a fake network of a few lines: sharing, joining, pausing, cancelling, failing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.noise import normal
from models.sample import draw, to_uint8
from models.sampler import SAMPLERS, Sampler, build_table
from models.schedule import Schedule
from models.unet import UNet
from tests.support import tiny_config
from worker.engine.engine import Engine
from worker.engine.work import (
    Event,
    ImageDone,
    Preview,
    Started,
    Weights,
    Work,
    WorkDone,
    WorkFailed,
)

SHAPE = (1, 4, 4)
SCHEDULE = Schedule("cosine", 1000)


class FakeNetwork:
    """Elementwise, so each row's output is its own; remembers the batches it was asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        self.batches.append(len(x))
        assert labels is not None
        shift = (labels + 1)[:, None, None, None] * 0.1 + t[:, None, None, None] / 5000
        return torch.tanh(0.6 * x + shift)


def fake_weights(version: str = "fake@1", network: Any = None) -> Weights:
    return Weights(version, network or FakeNetwork(), SHAPE, classes=True, null_class=3)


def work(id_: str, weights: Weights, **changes: Any) -> Work:
    arguments: dict[str, Any] = {
        "owner": "somebody",
        "seeds": (1,),
        "labels": (0,),
        "sampler": "dpmpp_2m",
        "steps": 5,
        "eta": 0.0,
        **changes,
    }
    table = build_table(
        SCHEDULE,
        prediction="v",
        sampler=arguments.pop("sampler"),
        steps=arguments.pop("steps"),
        eta=arguments.pop("eta"),
    )
    return Work(id=id_, weights=weights, table=table, **arguments)


def run(engine: Engine) -> list[Event]:
    events = []
    while not engine.idle:
        events += engine.step()
    return events


def pictures(events: Sequence[Event]) -> dict[tuple[str, int], list[Any]]:
    return {(e.id, e.index): e.pixels.tolist() for e in events if isinstance(e, ImageDone)}


def alone(one: Work, buckets: Sequence[int] = (8,)) -> dict[tuple[str, int], list[Any]]:
    engine = Engine(buckets)
    engine.add(one)
    return pictures(run(engine))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 2.5])
def test_engine_draws_what_the_plain_loop_draws(sampler: Sampler, guidance_scale: float) -> None:
    torch.manual_seed(1)
    unet = UNet(tiny_config()).eval()
    weights = Weights("tiny@1", unet, (1, 8, 8), classes=True, null_class=3)
    one = work(
        "w",
        weights,
        seeds=(5, 6),
        labels=(0, 2),
        sampler=sampler,
        guidance_scale=guidance_scale,
    )
    expected = draw(
        unet,
        one.table,
        seeds=torch.tensor(one.seeds),
        labels=torch.tensor([0, 2]),
        guidance_scale=guidance_scale,
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
    owner=st.sampled_from(["a", "b", "c"]),
    joins_at=st.integers(0, 6),
)


@given(others=st.lists(WORKS, min_size=1, max_size=6), buckets=st.sampled_from([(4,), (2, 4, 8)]))
@settings(max_examples=60, deadline=None)
def test_a_picture_does_not_depend_on_its_neighbours(
    others: list[dict[str, Any]], buckets: tuple[int, ...]
) -> None:
    weights = fake_weights()
    engine = Engine(buckets)
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
        for key, expected in alone(one, buckets).items():
            assert together[key] == expected
    assert [e.id for e in events if isinstance(e, WorkDone)].count("w0") == 1


def test_a_new_work_takes_its_first_step_at_once() -> None:
    weights = fake_weights()
    engine = Engine((4,))
    engine.add(work("long", weights, steps=50))
    engine.step()
    engine.add(work("short", weights, steps=2))
    assert Started("short") in engine.step()
    assert WorkDone("short") in engine.step()
    assert engine.row_steps("long") == 3


def test_a_large_work_is_admitted_piecemeal_and_does_not_starve_another_owner() -> None:
    weights = fake_weights()
    engine = Engine((4,))
    engine.add(
        work("big", weights, owner="greedy", seeds=tuple(range(64)), labels=(0,) * 64, steps=90)
    )
    for _ in range(3):
        engine.step()
    engine.add(work("small", weights, owner="modest", steps=10))
    steps = 0
    while engine.row_steps("small") < 10 and "small" in engine._works:
        engine.step()
        steps += 1
    assert steps <= 12
    assert engine.row_steps("big") > 0


def test_many_works_of_one_owner_do_not_starve_another() -> None:
    weights = fake_weights()
    engine = Engine((4,))
    for i in range(200):
        engine.add(work(f"greedy {i}", weights, owner="greedy", steps=100))
    engine.step()
    engine.add(work("small", weights, owner="modest", steps=10))
    for _ in range(12):
        events = engine.step()
        if WorkDone("small") in events:
            return
    raise AssertionError("the small request waited too long")


def test_requests_of_one_owner_advance_alike() -> None:
    engine, weights = Engine((4,)), fake_weights()
    engine.add(work("large", weights, seeds=tuple(range(40)), labels=(0,) * 40, steps=10))
    engine.step()
    engine.add(work("small", weights, steps=10))
    for _ in range(25):
        engine.step()
    assert engine.row_steps("small") == 0  # finished: every step had it, or every other
    assert engine.row_steps("large") >= 25 * 2
    run(engine)


def test_guided_rows_take_two_places_and_batches_are_padded() -> None:
    network = FakeNetwork()
    engine = Engine((2, 4, 8))
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
    run(engine)
    assert set(network.batches) == {8}


def test_cancel_frees_rows_and_leaves_neighbours_alone() -> None:
    weights = fake_weights()
    kept, dropped = work("kept", weights, seeds=(9,)), work("dropped", weights, steps=50)
    engine = Engine((8,))
    engine.add(kept)
    engine.add(dropped)
    engine.step()
    assert engine.cancel("dropped")
    assert not engine.cancel("dropped")
    assert engine.demand == 1
    assert pictures(run(engine)) == alone(kept)


def test_models_take_turns() -> None:
    first, second = FakeNetwork(), FakeNetwork()
    engine = Engine((4,))
    engine.add(work("a", fake_weights("a@1", first), steps=5))
    engine.add(work("b", fake_weights("b@1", second), steps=5))
    for _ in range(4):
        engine.step()
    assert (len(first.batches), len(second.batches)) == (2, 2)
    run(engine)
    assert engine.demand == 0


def test_a_failing_network_fails_the_works_of_its_batch_and_no_others() -> None:
    def broken(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        raise RuntimeError("out of luck")

    engine = Engine((4,))
    engine.add(work("bad", fake_weights("bad@1", broken)))
    engine.add(work("good", fake_weights("good@1")))
    events = run(engine)
    assert [e.id for e in events if isinstance(e, WorkFailed)] == ["bad"]
    assert WorkDone("good") in events


def test_a_broken_device_is_no_request_s_fault() -> None:
    def broken(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    engine = Engine((4,))
    for name in ("a", "b"):
        engine.add(work(name, fake_weights("any@1", broken)))
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        run(engine)
    assert not engine.idle  # whoever starts in this process's place takes them up again


class Poisoned(FakeNetwork):
    """Raises whenever it sees a class, or a batch above a size."""

    def __init__(self, label: int = -1, *, largest: int = 10**9) -> None:
        super().__init__()
        self.label, self.largest = label, largest

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        if len(x) > self.largest:
            raise torch.OutOfMemoryError("out of memory")
        assert labels is not None
        if bool((labels == self.label).any()):
            raise RuntimeError("out of luck")
        return super().__call__(x, t, labels)


def test_only_the_work_that_fails_alone_fails() -> None:
    weights = fake_weights(network=Poisoned(2))
    engine = Engine((8,))
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
    engine = Engine((8,))
    engine.add(work("a", weights, labels=(1,), steps=20))
    engine.add(work("b", weights, labels=(2,), steps=20))
    events = run(engine)
    assert {e.id for e in events if isinstance(e, WorkDone)} == {"a", "b"}


def test_out_of_memory_halves_the_capacity_and_goes_on() -> None:
    network = Poisoned(largest=4)
    engine = Engine((2, 4, 8, 16))
    one = work("w", fake_weights(network=network), seeds=tuple(range(12)), labels=(0,) * 12)
    engine.add(one)
    assert WorkDone("w") in run(engine)
    assert engine.buckets == (2, 4)
    assert max(network.batches) == 4


def test_without_memory_for_a_single_row_the_work_fails() -> None:
    engine = Engine((2, 4))
    engine.add(work("w", fake_weights(network=Poisoned(largest=1))))
    (event,) = run(engine)
    assert isinstance(event, WorkFailed)
    assert engine.capacity == 2


def test_an_isolated_work_shares_no_batch() -> None:
    network = FakeNetwork()
    weights = fake_weights(network=network)
    engine = Engine((4,))
    engine.add(work("others", weights, seeds=(1, 2, 3), labels=(0,) * 3, steps=4))
    engine.step()
    engine.add(work("isolated", weights, steps=3, alone=True))
    rows = []
    while not engine.idle:
        engine.step()
        rows.append(engine.last.rows)
    assert rows == [1, 3, 1, 3, 1, 3]  # by turns: a large one holds nobody up


def test_an_isolated_work_draws_what_it_draws_in_company() -> None:
    weights = fake_weights()
    engine = Engine((4,))
    engine.add(work("others", weights, seeds=(1, 2, 3), labels=(0,) * 3, steps=9))
    engine.add(work("isolated", weights, seeds=(7,), steps=5, alone=True))
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
    engine = Engine((4,))
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
    engine = Engine((4,))
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
    weights = Weights("tiny@1", UNet(tiny_config()).eval(), (1, 8, 8), True, 3)
    watched = work(
        "watched",
        weights,
        seeds=(7, 2**62),
        labels=(1, None),
        sampler="dpmpp_2m_sde",
        guidance_scale=1.7,
    )
    engine = Engine((8,))
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

    engine = Engine((4,))
    engine.add(work("nan", fake_weights(network=poisoned), labels=(2,)))
    healthy = work("healthy", fake_weights(), labels=(1,))
    engine.add(Work(**{**vars(healthy), "weights": next(iter(engine._shares))}))
    assert pictures(run(engine))["healthy", 0] == alone(healthy)["healthy", 0]


def test_a_work_cannot_run_twice_at_once() -> None:
    engine = Engine((4,))
    engine.add(work("w", fake_weights()))
    with pytest.raises(ValueError, match="running already"):
        engine.add(work("w", fake_weights()))


@pytest.mark.parametrize("buckets", [(), (1,), (4, 2), (2, 2)])
def test_buckets_must_rise_and_hold_a_guided_row(buckets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising sizes"):
        Engine(buckets)


@pytest.mark.gpu
def test_engine_draws_on_cuda_what_it_draws_on_the_cpu() -> None:
    torch.manual_seed(1)
    unet = UNet(tiny_config()).eval()
    drawn = {}
    for device in ("cpu", "cuda"):
        weights = Weights(
            "tiny@1", unet.to(device), (1, 8, 8), True, 3, torch.float32, torch.device(device)
        )
        drawn[device] = alone(work("w", weights, seeds=(5,), labels=(0,), guidance_scale=2.0))
        difference = torch.tensor(drawn[device]["w", 0]) - torch.tensor(drawn["cpu"]["w", 0])
        assert difference.abs().max() <= 1
