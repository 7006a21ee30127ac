"""Scripts take their arguments by name, and keys by the names of `wire.keys`."""

from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

import wire.life
from tests.wire.conftest import World
from wire import keys
from wire.life.script import script

SCRIPTS = sorted(path.stem for path in Path(wire.life.__file__).parent.glob("*.lua"))


def test_every_script_is_valid_lua_for_redis(world: World) -> None:
    assert len(SCRIPTS) == 16
    for name in SCRIPTS:
        world.redis.script_load(script(name).text)


def test_no_script_types_a_key_of_its_own() -> None:
    folder = Path(wire.life.__file__).parent
    for path in [*folder.glob("*.lua"), *folder.glob("shared/*.lua")]:
        text = path.read_text()
        assert "emaki:" not in text, path
        assert "rq:" not in text, path


def test_an_argument_that_is_missing_or_unknown_is_refused() -> None:
    with pytest.raises(TypeError, match=r"forget\.lua takes \('id',\)"):
        script("forget").call(bool)
    with pytest.raises(TypeError, match="forget"):
        script("forget").call(bool, id="x", worker="a")
    with pytest.raises(TypeError, match="forget"):
        script("forget").call(bool, id="x", rest=["more"])


def test_keys_with_parts_become_lua_functions(world: World) -> None:
    text = script("look").text
    assert "key.waiting = function(a0, a1) return 'emaki:waiting:' .. a0 .. ':' .. a1 end" in text
    assert "key.QUEUED" not in text, "only what a script uses"


def test_names_of_rq_are_rq_s_own(world: World) -> None:
    queue = Queue(keys.QUEUE, connection=world.redis, serializer=JSONSerializer)
    registry = StartedJobRegistry(queue=queue, serializer=JSONSerializer)
    assert queue.key == keys.QUEUE_LIST
    assert queue.intermediate_queue_key == keys.POPPED
    assert registry.key == keys.STARTED
    assert keys.job("x") == Job.key_for("x")
