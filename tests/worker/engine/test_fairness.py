"""Whose rows run: each key the same, then each of its requests, whatever versions they name."""

from collections import Counter
from typing import Any

import pytest

from tests.worker.engine.fake import FakeNetwork, fake_weights, run, work
from wire.picture import Picture
from worker.engine.engine import Engine
from worker.engine.fairness import FairShare
from worker.engine.precision import Plan
from worker.engine.work import Started, Work, WorkDone


def large(id_: str, weights: Any, **changes: Any) -> Work:
    fields: dict[str, Any] = {"seeds": tuple(range(64)), "labels": (0,) * 64, "steps": 90}
    return work(id_, weights, **{**fields, **changes})


def test_a_large_work_is_admitted_piecemeal_and_does_not_starve_another_owner() -> None:
    weights = fake_weights()
    engine = Engine(Plan((4,)))
    engine.add(
        work("big", weights, owner="greedy", seeds=tuple(range(64)), labels=(0,) * 64, steps=90)
    )
    for _ in range(3):
        engine.step()
    engine.add(work("small", weights, owner="modest", steps=10))
    steps = 0
    while WorkDone("small") not in engine.step():
        steps += 1
    assert steps < 12
    assert engine.row_steps("big") > 0


def test_many_works_of_one_owner_do_not_starve_another() -> None:
    weights = fake_weights()
    engine = Engine(Plan((4,)))
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
    engine, weights = Engine(Plan((4,))), fake_weights()
    engine.add(work("large", weights, seeds=tuple(range(40)), labels=(0,) * 40, steps=10))
    engine.step()
    engine.add(work("small", weights, steps=10))
    for _ in range(25):
        engine.step()
    assert engine.row_steps("small") == 0  # finished: every step had it, or every other
    assert engine.row_steps("large") >= 25 * 2
    run(engine)


def test_models_take_turns() -> None:
    first, second = FakeNetwork(), FakeNetwork()
    engine = Engine(Plan((4,)))
    engine.add(work("a", fake_weights("a@1", first), steps=5))
    engine.add(work("b", fake_weights("b@1", second), steps=5))
    for _ in range(4):
        engine.step()
    assert (len(first.batches), len(second.batches)) == (2, 2)
    run(engine)
    assert engine.demand == 0


def test_a_key_that_names_four_versions_gets_no_more_than_one_that_names_one() -> None:
    engine = Engine(Plan((4,)))
    for i in range(4):
        engine.add(large(f"many {i}", fake_weights(f"many@{i}"), owner="many"))
    engine.add(large("one", fake_weights("one@1"), owner="one"))
    for _ in range(100):
        engine.step()
    many = sum(engine.evaluations(f"many {i}") for i in range(4))
    assert abs(many - engine.evaluations("one")) <= 8
    each = [engine.evaluations(f"many {i}") for i in range(4)]
    assert max(each) - min(each) <= 8


def test_two_keys_share_alike_when_one_asks_for_a_version_with_few_rows() -> None:
    engine = Engine(Plan((4,)))
    engine.add(large("few", fake_weights("few@1"), owner="few", seeds=(1,), labels=(0,)))
    engine.add(large("many", fake_weights("many@1"), owner="many"))
    turns: Counter[str] = Counter()
    for _ in range(60):
        engine.step(drawing=turns.update)
    assert abs(turns["few"] - turns["many"]) <= 1  # its step costs as much, full or not


@pytest.mark.parametrize("before", [1, 4])
def test_large_requests_of_a_key_do_not_starve_its_small_one(before: int) -> None:
    engine, weights = Engine(Plan((4,))), fake_weights()
    for i in range(before):
        engine.add(large(f"large {i}", weights))
    for _ in range(10):
        engine.step()
    engine.add(work("small", weights, steps=10))
    events = engine.step() + engine.step()
    assert Started("small") in events
    for _ in range(9 * (before + 1)):
        events += engine.step()
    assert WorkDone("small") in events


def test_a_modest_key_has_saved_nothing_up() -> None:
    engine, weights = Engine(Plan((4,))), fake_weights()
    engine.add(large("greedy", weights, owner="greedy", steps=900))
    engine.add(work("modest", weights, owner="modest", steps=300))
    for _ in range(300):
        engine.step()
    engine.add(large("now greedy too", weights, owner="modest"))
    before = engine.evaluations("greedy")
    for _ in range(20):
        engine.step()
    assert engine.evaluations("greedy") - before >= 30  # half of the 80 places


def test_evaluations_are_counted_with_guided_rows_twice() -> None:
    engine, weights = Engine(Plan((8,))), fake_weights()
    one = work("w", weights, seeds=(1, 2), labels=(0, None), guidance_scale=2.0, steps=4)
    assert one.evaluations == 3 * 4
    engine.add(one)
    for made in (3, 6, 9):
        engine.step()
        assert engine.evaluations("w") == made


def test_a_row_takes_two_places_in_the_guided_share_of_its_run_only() -> None:
    engine, weights = Engine(Plan((8,))), fake_weights()
    one = work("w", weights, guidance_scale=2.0, guidance_interval=(0.25, 0.75), steps=8)
    assert (one.places, one.evaluations) == (1, 12)
    engine.add(one)
    places, demand = [], []
    while not engine.idle:
        demand.append(engine.demand)
        engine.step()
        places.append(engine.last.places)
    assert places == demand == [1, 1, 2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.9), (0.4, 0.85), (0.5, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_api_and_engine_count_the_same_evaluations(
    interval: tuple[float, float], steps: int
) -> None:
    weights = fake_weights()
    for guidance_scale in (0.0, 1.0, 1.5):
        for label, name in ((None, None), (1, "Square")):
            asked = Picture(
                model="fake@1",
                seed=1,
                class_name=name,
                steps=steps,
                sampler="ddim",
                guidance_scale=guidance_scale,
                guidance_interval=interval,
                eta=0.0,
                scale=1,
            )
            drawn = work(
                "w",
                weights,
                labels=(label,),
                steps=steps,
                guidance_scale=guidance_scale,
                guidance_interval=interval,
            )
            assert asked.evaluations == drawn.evaluations


def test_within_an_owner_steps_go_by_weight_and_nobody_starves() -> None:
    share: FairShare[str] = FairShare()
    for name, weight in (("high", 4.0), ("normal", 1.0), ("low", 0.25)):
        share.add("anna", name, [(name, 1)], kind="k", weight=weight)
    share.add("ben", "ben", [("ben", 1)], kind="k")
    steps: Counter[str] = Counter()
    for _ in range(840):
        chosen = share.fill(share.next_job(), 1)
        steps.update(chosen.keys())
        share.charge(chosen, 1)
    assert abs(steps["ben"] - 420) <= 1, "owners share alike, whatever weights they give"
    for name, part in (("high", 320), ("normal", 80), ("low", 20)):
        assert abs(steps[name] - part) <= 3
