"""Inputs beside a request, and uploads: kept, counted, and gone with what they belong to."""

from typing import Any

from tests.wire.conftest import World
from wire import keys, life
from wire.life import Outcome
from wire.schemas import Status

FACTS = {"sha256": "ab", "type": "image/png", "width": "1", "height": "1"}


def upload(world: World, id_: str, content: bytes, **changes: Any) -> int | None:
    wanted: dict[str, Any] = {
        "facts": FACTS,
        "size": len(content),
        "data": content,
        "most_stored": 100,
        "result_ttl": 60,
        **changes,
    }
    return world.run(life.upload(id_, "owner", **wanted))


def test_inputs_are_kept_and_counted_until_their_generation_goes(world: World) -> None:
    record = world.record()
    inputs = {keys.INIT: b"init", keys.MASK: b"masks"}
    assert world.admit(record, inputs=inputs, reserved=50).outcome is Outcome.ACCEPTED
    assert world.redis.hgetall(keys.images(record.id)) == {b"init": b"init", b"mask": b"masks"}
    assert world.stored() == 50
    world.open(record, "a")
    assert world.run(life.start(record, "a", now=1.0))
    assert world.run(life.finish(record, "a", Status.SUCCEEDED))
    events = sum(len(f[b"data"]) for _, f in world.redis.xrange(keys.events(record.id)))
    assert world.stored() == events + 9
    assert 0 < world.redis.ttl(keys.images(record.id)) <= 60
    assert world.run(life.delete(record))
    assert not world.redis.exists(keys.images(record.id))
    assert world.stored() == 0


def test_a_refused_generation_leaves_no_inputs(world: World) -> None:
    record = world.record()
    refused = world.admit(record, inputs={keys.INIT: b"init"}, reserved=50, most_stored=10)
    assert refused.outcome is Outcome.STORED
    assert not world.redis.exists(keys.images(record.id))


def test_files_are_removed_by_one_worker_and_not_what_is_kept_anew(world: World) -> None:
    assert upload(world, "one", b"x", data=None, result_ttl=60) is None
    due = {"one": 10}
    assert not world.run(life.remove_begun(b"one", now=11.0, again=71)), "its time has not come"
    world.redis.zadd(keys.IMAGES_KEPT, due)
    assert world.run(life.remove_begun(b"one", now=11.0, again=71))
    assert not world.run(life.remove_begun(b"one", now=12.0, again=72)), "another worker's"
    assert world.run(life.remove_begun(b"one", now=71.0, again=131)), "the first one has died"
    assert not world.run(life.removed(b"one", again=71))
    assert upload(world, "one", b"x", data=None, result_ttl=60) is None  # sent again meanwhile
    assert not world.run(life.removed(b"one", again=131))
    assert world.redis.zscore(keys.IMAGES_KEPT, "one") > 131
    world.redis.zadd(keys.IMAGES_KEPT, due)
    assert world.run(life.remove_begun(b"one", now=11.0, again=71))
    assert world.run(life.removed(b"one", again=71))
    assert world.redis.zscore(keys.IMAGES_KEPT, "one") is None
    assert not world.run(life.remove_begun(b"one", now=99.0, again=159)), "nothing is there"


def test_an_upload_is_counted_once_expires_and_can_be_discarded(world: World) -> None:
    for _ in range(2):
        assert upload(world, "one", b"x" * 60) is None
    assert world.stored("owner") == 60
    assert 0 < world.redis.ttl(keys.upload("one")) <= 60
    assert world.redis.hget(keys.upload("one"), "data") == b"x" * 60
    assert upload(world, "two", b"x" * 41) == 60
    assert not world.redis.exists(keys.upload("two"))
    assert upload(world, "two", b"x" * 40) is None
    assert world.run(life.discard("one", "owner"))
    assert not world.run(life.discard("one", "owner"))
    assert world.stored("owner") == 40


def test_what_has_expired_makes_room(world: World) -> None:
    assert upload(world, "one", b"x" * 90) is None
    world.redis.zadd(keys.kept("owner"), {"one": 1})  # as if its time had come
    assert upload(world, "two", b"x" * 90) is None
    assert world.stored("owner") == 90


def test_an_upload_in_a_file_is_removed_when_its_time_comes(world: World) -> None:
    assert upload(world, "one", b"x", data=None) is None
    assert not world.redis.hexists(keys.upload("one"), "data")
    (score,) = world.redis.zmscore(keys.IMAGES_KEPT, ["one"])
    assert score > 0
    assert world.run(life.discard("one", "owner"))
    assert world.redis.zmscore(keys.IMAGES_KEPT, ["one"]) == [0.0]
