"""Priorities order one owner's own requests, age, and show in position and estimate."""

import pytest

from tests.wire.conftest import World
from wire import keys, life
from wire.life import Outcome
from wire.life.queueing import OVERCOMMIT
from wire.record import Record


def accepted(world: World, priority: str, owner: str = "", *, age: float = 0.0) -> Record:
    record = world.record(owner, priority=priority)
    record.created -= age
    assert world.admit(record).outcome is Outcome.ACCEPTED
    return record


def all_taken(world: World) -> list[str]:
    found = []
    while (id_ := world.take()) is not None:
        found.append(id_)
    return found


def ranked(world: World, owner: str = "") -> int:
    return int(world.redis.hget(keys.QUEUED, f"ranked:{owner}") or 0)


def test_an_owner_s_requests_are_taken_by_priority_then_by_age(world: World) -> None:
    wanted = ["low", "normal", "high", "normal", "high", "low"]
    ids = [accepted(world, priority).id for priority in wanted]
    assert all_taken(world) == [ids[i] for i in (2, 4, 1, 3, 0, 5)]


def test_high_priority_is_no_way_past_others(world: World) -> None:
    anna = accepted(world, "normal", "anna")
    ben = [accepted(world, "high", "ben") for _ in range(3)]
    taken = all_taken(world)
    assert taken.index(anna.id) == 0, "she waited longer than he"
    assert taken[1:] == [record.id for record in ben]


@pytest.mark.parametrize(("age", "first"), [(590.0, "normal"), (610.0, "low")])
def test_a_low_one_moves_up_with_age(world: World, age: float, first: str) -> None:
    records = {
        name: accepted(world, name, age=age if name == "low" else 0) for name in ("low", "normal")
    }
    assert world.take() == records[first].id


def test_a_low_one_does_not_starve_behind_a_stream_of_high_ones(world: World) -> None:
    low = accepted(world, "low")
    accepted(world, "high")
    for minute in range(1, 60):
        accepted(world, "high", age=-60 * minute)  # one more each minute, and one is taken
        if world.take() == low.id:
            break
    assert 20 <= minute <= 21, "the twenty minutes that lie between the two priorities"


def test_position_and_estimate_follow_the_priority(world: World) -> None:
    first = [accepted(world, "normal") for _ in range(OVERCOMMIT + 8)]
    low, normal, high = (accepted(world, name) for name in ("low", "normal", "high"))
    count = len(first)
    looked = {r.id: world.run(life.look(r.id)) for r in (low, normal, high, first[0])}
    places = [looked[r.id].place for r in (high, first[0], normal, low)]
    assert places == [1, 2, count + 2, count + 3]
    evaluations = [looked[r.id].evaluations for r in (high, normal, low)]
    assert evaluations == sorted(evaluations)
    assert evaluations[0] < evaluations[-1]
    assert looked[low.id].backlog == (count + 3) * low.request.evaluations


def test_what_goes_back_is_first_again_whatever_waits(world: World) -> None:
    low = accepted(world, "low")
    world.open(low, "a")
    high = accepted(world, "high")
    assert world.requeue(low)
    assert all_taken(world) == [low.id, high.id]


def test_what_a_worker_cannot_draw_is_last_though_it_is_high(world: World) -> None:
    high = accepted(world, "high")
    world.open(high, "a")
    low = accepted(world, "low")
    assert world.requeue(high, how="elsewhere")
    assert all_taken(world) == [low.id, high.id]


def test_a_high_one_is_taken_though_the_usual_number_is_in_hand(world: World) -> None:
    accepted(world, "normal")
    full = {"": OVERCOMMIT}
    assert world.take(room=0, held=full) is None
    high = accepted(world, "high")
    assert world.take(room=0, held=full) == high.id
    accepted(world, "high")
    assert world.take(room=0, held={"": 2 * OVERCOMMIT}) is None


def test_what_is_not_normal_is_counted_while_it_waits(world: World) -> None:
    begun, canceled, deleted = (accepted(world, "high") for _ in range(3))
    accepted(world, "normal")
    assert ranked(world) == 3
    world.open(begun, "a")
    world.run(life.start(begun, "a", now=1.0))
    world.run(life.cancel(canceled))
    world.run(life.delete(deleted))
    assert ranked(world) == 0
