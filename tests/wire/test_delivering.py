"""Deliveries of webhooks: put by the transition that they tell of, claimed, told, given up."""

import time
from typing import Any

from tests.wire.conftest import World
from wire import keys, life
from wire.life import Delivery
from wire.record import Record
from wire.schemas import ErrorInfo, Status

FACTS = {"index": 0, "seed": 1, "class": "Circle", "sha256": "ab", "width": 8, "height": 8}
HOOK = {"url": "https://a.example/x", "events": ["done", "image", "started"]}
DONE = {"url": "https://a.example/x", "events": ["done"]}


def claim(world: World, *, at: float = 0.0, **limits: Any) -> list[Delivery]:
    now = at or time.time()
    wanted = {"lease": now + 60, "room": 100, "most": 100, "busy": {}, **limits}
    return world.run(life.claim(now=now, **wanted))


def ended(world: World, **changes: Any) -> Record:
    record = world.running(**changes)
    assert world.run(life.finish(record, "a", Status.SUCCEEDED))
    return record


def test_every_end_puts_one_message_and_says_which(world: World) -> None:
    canceled, lapsed = (world.accepted(webhook=DONE) for _ in range(2))
    world.run(life.cancel(canceled))
    world.run(life.cancel(canceled))
    world.run(life.lapse(lapsed, ErrorInfo(code="x", detail="y")))
    drawn = ended(world, webhook=DONE)
    assert not world.run(life.finish(drawn, "a", Status.SUCCEEDED)), "it has ended already"
    ended(world)
    claimed = claim(world)
    assert {one.id for one in claimed} == {f"{r.id}.done" for r in (canceled, lapsed, drawn)}
    statuses = {world.status(record) for record in (canceled, lapsed, drawn)}
    assert statuses == {"canceled", "failed", "succeeded"}
    for one in claimed:
        assert (
            f'"status":"{world.redis.hget(keys.generation(one.generation), "status").decode()}"'
            in one.data
        )


def test_events_come_one_after_the_other_and_only_those_asked_for(world: World) -> None:
    record = world.opened(webhook=HOOK)
    for _ in range(2):  # drawn again after a crash: told once
        world.run(life.start(record, "a", now=time.time()))
        world.run(life.image(record.id, "a", facts=FACTS, png=b""))
    world.run(life.finish(record, "a", Status.SUCCEEDED))
    names = []
    while claimed := claim(world):
        (one,) = claimed
        names.append(one.id.partition(".")[2])
        assert world.run(life.told(one, "delivered"))
        assert not world.run(life.told(one, "delivered")), "said already"
    assert names == ["started", "image.0", "done"]
    assert not world.redis.keys("emaki:due:*")
    assert not world.redis.exists(keys.deliveries(record.id), keys.RECEIVERS)


def test_what_is_claimed_is_due_again_when_the_lease_ends(world: World) -> None:
    ended(world, webhook=DONE)
    now = time.time()
    assert len(claim(world, at=now, lease=now + 10)) == 1
    assert claim(world, at=now + 9) == []
    assert len(claim(world, at=now + 11)) == 1


def test_a_try_that_failed_is_due_later_and_counted(world: World) -> None:
    ended(world, webhook=DONE)
    now = time.time()
    for tries in range(3):
        (one,) = claim(world, at=now + tries * 100)
        assert one.tries == tries
        world.run(life.told(one, "later", at=now + (tries + 1) * 100, why="status 500"))
        assert claim(world, at=now + tries * 100 + 99) == []


def test_one_receiver_has_so_many_at_once_and_others_are_not_kept_up(world: World) -> None:
    for _ in range(5):
        ended(world, webhook={"url": "https://dead.example/", "events": ["done"]})
    ended(world, webhook=DONE)
    dead, alive = "https://dead.example:443", "https://a.example:443"
    assert sorted(one.to for one in claim(world, most=2)) == [alive, dead, dead]
    assert [one.to for one in claim(world, most=2, busy={dead: 1})] == [dead]
    assert claim(world, most=2, busy={dead: 2}) == []
    assert claim(world, room=0) == []
    assert len(claim(world)) == 2


def test_what_is_given_up_is_kept_for_its_owner_who_may_send_it_again(world: World) -> None:
    record = world.running(owner="anna", webhook=HOOK)
    world.run(life.finish(record, "a", Status.SUCCEEDED))
    (first,) = claim(world)
    world.run(life.told(first, "later", at=0.0, why="status 500"))
    (first,) = claim(world)
    world.run(life.told(first, "dead", why="status 500"))
    (second,) = claim(world)
    assert second.id.endswith(".done"), "what follows is told all the same"
    world.run(life.told(second, "delivered"))
    kept = world.redis.hget(keys.dead("anna"), first.id)
    letter = Delivery.read(kept)
    assert (letter.id, letter.tries, letter.why) == (first.id, 2, "status 500")
    assert not world.run(life.resend("ben", first.id))
    assert world.run(life.resend("anna", first.id))
    assert not world.run(life.resend("anna", first.id))
    (again,) = claim(world)
    assert (again.id, again.data, again.tries) == (first.id, first.data, 0)
    assert again.since > first.since


def test_of_what_is_deleted_nothing_is_told(world: World) -> None:
    record = ended(world, webhook=DONE)
    world.run(life.delete(record))
    assert claim(world) == []
    assert not world.redis.exists(keys.RECEIVERS)
    given_up, other = (ended(world, webhook=DONE) for _ in range(2))
    for one in claim(world):
        world.run(life.told(one, "dead", why="status 500"))
    world.run(life.delete(given_up))
    assert world.redis.hkeys(keys.dead("")) == [f"{other.id}.done".encode()]
    assert world.redis.zrange(keys.died(""), 0, -1) == [f"{other.id}.done".encode()]


def test_only_the_last_ones_that_were_given_up_are_kept(world: World) -> None:
    call = life.told(Delivery("", "", "", 0, 0, "", "", "", "", 0), "dead")
    limit = call.args[call.script.args.index("most")]
    assert limit == 1000
    now = time.time()
    times = {str(number): now - 2000 + number for number in range(1000)}
    world.redis.hset(keys.dead(""), mapping=dict.fromkeys(times, "{}"))
    world.redis.zadd(keys.died(""), times)

    def given_up() -> set[bytes]:
        ended(world, webhook=DONE)
        (one,) = claim(world)
        world.run(life.told(one, "dead", why="x"))
        kept = set(world.redis.zrange(keys.died(""), 0, -1))
        assert kept == set(world.redis.hkeys(keys.dead("")))
        return kept

    kept = given_up()
    assert len(kept) == 1000
    assert b"0" not in kept
    week = 7 * 24 * 3600
    world.redis.zadd(keys.died(""), dict.fromkeys(("1", "2", "3"), now - week - 1))
    assert len(given_up()) == 998
