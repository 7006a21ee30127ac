"""Scripts take their arguments by name, and keys by the names of `wire.keys`."""

from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError
from rq import Queue
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

import wire.life
from tests.wire.conftest import World
from wire import keys, life
from wire.life.script import Call, script

FACTS = {"index": 0, "seed": 1, "class": None, "sha256": "ab", "width": 8, "height": 8}
SCRIPTS = sorted(path.stem for path in Path(wire.life.__file__).parent.glob("*.lua"))


def test_every_script_is_valid_lua_for_redis(world: World) -> None:
    assert len(SCRIPTS) == 24
    for name in SCRIPTS:
        world.redis.script_load(script(name).text)


def test_no_script_types_a_key_of_its_own() -> None:
    folder = Path(wire.life.__file__).parent
    for path in [*folder.glob("*.lua"), *folder.glob("shared/*.lua")]:
        text = path.read_text()
        assert "emaki:" not in text, path
        assert "rq:" not in text, path


def test_an_argument_that_is_missing_or_unknown_is_refused() -> None:
    with pytest.raises(TypeError, match=r"forget\.lua takes \('id', 'entry'\)"):
        script("forget").call(bool)
    with pytest.raises(TypeError, match="forget"):
        script("forget").call(bool, id="x", worker="a")
    with pytest.raises(TypeError, match="forget"):
        script("forget").call(bool, id="x", rest=["more"])


def test_keys_with_parts_become_lua_functions(world: World) -> None:
    text = script("look").text
    assert "key.waiting = function(a0, a1) return 'emaki:waiting:' .. a0 .. ':' .. a1 end" in text
    assert "key.CANCELS" not in text, "only what a script uses"


def test_calls_together_are_run_in_order_and_each_answer_is_read(world: World) -> None:
    record = world.opened()
    calls: list[Call[Any]] = [
        life.start(record, "another", now=1.0),
        life.start(record, "a", now=1.0),
        life.image(record.id, "another", facts=FACTS, png=b""),
        life.drawing("a", ["x", "y"]),
        life.cancels(),
    ]
    assert world.run(life.together(calls)) == [False, True, None, True, set()]
    assert world.status(record) == "running"
    assert world.redis.get(keys.batch("a")) == b"x y"
    assert world.run(life.together([])) == []


def test_of_calls_together_those_before_a_failure_have_happened(world: World) -> None:
    first, second = world.opened(), world.opened()
    world.redis.delete(keys.generation(second.id))
    world.redis.set(keys.generation(second.id), "no hash")
    calls = [life.start(record, "a", now=1.0) for record in (first, second, first)]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        world.run(life.together(calls))
    assert world.status(first) == "running"


def test_names_of_rq_are_rq_s_own(world: World) -> None:
    queue = Queue(keys.QUEUE, connection=world.redis, serializer=JSONSerializer)
    registry = StartedJobRegistry(queue=queue, serializer=JSONSerializer)
    assert queue.key == keys.QUEUE_LIST
    assert queue.intermediate_queue_key == keys.POPPED
    assert registry.key == keys.STARTED
    assert keys.job("x") == Job.key_for("x")
