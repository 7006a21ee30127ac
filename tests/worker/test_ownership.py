"""Two workers and one request: whoever took it last owns it, and it is never in no list at all."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from torch import Tensor

from app.queue import SubmitQueue
from models import load_model
from models.unet import UNet
from serve.embedded import EmbeddedRedis
from tests.support import eventually, fresh_record, write_checkpoint
from wire import keys
from worker.catalog import Catalog
from worker.dispatch import Dispatch
from worker.engine.engine import Engine
from worker.engine.precision import Plan, plan
from worker.engine.runner import Runner
from worker.jobs import EngineWorker
from worker.ledger import Ledger
from worker.meter import Meter

CPU = torch.device("cpu")
TTL = 0.5


class Worker:
    """A whole worker in this process, moved by hand."""

    def __init__(self, url: str, name: str, checkpoints: Path) -> None:
        catalog = Catalog(checkpoints, device=CPU, plan=plan("balanced", device=CPU, cores=1))
        catalog.refresh()
        self.catalog = catalog
        meter = Meter()
        self.redis = Redis.from_url(url)
        self.runner = Runner(Engine(Plan((1, 2, 4))), on_step=meter.step)
        self.ledger = Ledger(self.redis, name)
        self.dispatch = Dispatch(self.ledger, catalog, self.runner, meter, step_timeout=30)
        self.rq = EngineWorker(self.redis, self.dispatch, drain_seconds=0, worker_ttl=TTL)

    def take(self) -> None:
        assert self.rq.take() is not None

    def tick(self) -> None:
        self.rq.tick()

    def ticked(self) -> bool:
        self.tick()
        return True

    def close(self) -> None:
        self.dispatch.drop_all()
        self.redis.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    write_checkpoint(tmp_path / "checkpoints")
    server = EmbeddedRedis(tmp_path / "data")
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def redis(url: str) -> Iterator[Any]:
    with Redis.from_url(url) as connection:
        yield connection


@pytest.fixture
def workers(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Worker, Worker]]:
    """Two of them; a step takes 20 ms."""
    healthy = UNet.forward

    def slow(self: UNet, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        time.sleep(0.02)
        return healthy(self, x, t, labels)

    monkeypatch.setattr(UNet, "forward", slow)
    pair = Worker(url, "a", tmp_path / "checkpoints"), Worker(url, "b", tmp_path / "checkpoints")
    yield pair
    for worker in pair:
        worker.close()


def submit(redis: Any, **changes: Any) -> str:
    record = fresh_record(**{"steps": 400, **changes})
    SubmitQueue(redis, max_pictures=100).submit(record)
    return record.id


def sleep_past_the_ttl(redis: Any) -> None:
    time.sleep(1 + TTL)  # RQ's marks are whole seconds
    for entry in redis.zrange(keys.STARTED, 0, -1):
        redis.zadd(keys.STARTED, {entry: time.time() - 1})


def state(redis: Any, id_: str) -> tuple[bytes | None, ...]:
    return tuple(redis.hmget(keys.generation(id_), ["status", "worker"]))


def test_a_worker_that_wakes_before_its_first_step_does_not_take_the_request_back(
    redis: Any, workers: tuple[Worker, Worker]
) -> None:
    sleeper, other = workers
    id_ = submit(redis)
    sleeper.take()
    sleep_past_the_ttl(redis)
    other.rq.keep_house()
    other.runner.start()
    other.take()
    eventually(lambda: other.ticked() and state(redis, id_) == (b"running", b"b"))
    sleeper.runner.start()
    eventually(lambda: sleeper.ticked() and not sleeper.dispatch.holds(id_))
    assert state(redis, id_) == (b"running", b"b")
    other.tick()
    assert other.dispatch.holds(id_)
    assert redis.zcard(keys.STARTED) == 1


def test_a_worker_that_pops_its_own_request_again_owns_it_again(
    redis: Any, workers: tuple[Worker, Worker]
) -> None:
    sleeper, other = workers
    id_ = submit(redis, steps=30)
    sleeper.runner.start()
    sleeper.take()
    eventually(lambda: sleeper.ticked() and state(redis, id_)[0] == b"running")
    sleep_past_the_ttl(redis)
    other.rq.keep_house()
    other.runner.start()
    other.take()
    eventually(lambda: other.ticked() and state(redis, id_) == (b"running", b"b"))
    other.rq.give_back()
    sleeper.take()
    assert state(redis, id_) == (b"running", b"a")
    eventually(lambda: sleeper.ticked() and state(redis, id_)[0] == b"succeeded")
    assert not redis.exists("rq:job:" + id_)
    assert redis.zcard(keys.STARTED) == 0


def test_what_another_release_accepted_and_this_one_cannot_read_fails(
    redis: Any, workers: tuple[Worker, Worker]
) -> None:
    id_ = submit(redis)
    key = keys.generation(id_)
    request = redis.hget(key, "request")
    assert request is not None
    redis.hset(key, "request", request.replace(b"dpmpp_2m", b"another"))
    workers[0].take()
    assert redis.hget(key, "status") == b"failed"
    assert b"another release of Emaki accepted it; submit it again" in (
        redis.hget(key, "error") or b""
    )
    assert 0 < redis.ttl(key) <= 60
    (event,) = redis.xrange(keys.events(id_))
    assert event[1][b"event"] == b"done"
    assert not redis.exists("rq:job:" + id_)
    assert not redis.hget(keys.QUEUED, "pictures")


def test_a_class_that_an_older_version_lacks_is_named(
    redis: Any, workers: tuple[Worker, Worker]
) -> None:
    id_ = submit(redis, class_names=["Boot"])
    workers[0].runner.start()
    workers[0].take()
    workers[0].tick()
    error = redis.hget(keys.generation(id_), "error") or b""
    assert b"tiny@0000001 has no class 'Boot'; it has Circle, Square, Ankle boot" in error


def test_many_results_do_not_hold_up_heartbeats(
    redis: Any, workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = workers
    monkeypatch.setattr("worker.dispatch._MOST_SECONDS_AT_ONCE", 0.0)
    worker.runner.start()
    id_ = submit(redis, steps=2)
    worker.take()
    eventually(lambda: worker.runner.steps == 2, what="the last step")
    worker.dispatch.gather(wait=0.1)
    worker.dispatch.talk()
    assert worker.dispatch.holds(id_)
    assert worker.dispatch.room == 0
    monkeypatch.undo()
    eventually(lambda: worker.ticked() and state(redis, id_)[0] == b"succeeded")


def test_many_requests_do_not_hold_up_cancels(redis: Any, workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.runner.start()
    for _ in range(40):
        submit(redis)
    worker.take()
    taken = [redis.zcard(keys.STARTED)]
    for _ in range(2):
        worker.tick()
        taken.append(redis.zcard(keys.STARTED))
    assert taken == [16, 32, 32], "a few at a time; then it has places for no more of one owner's"


def test_results_that_redis_did_not_hear_are_told_when_it_is_back(
    redis: Any, workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = workers
    worker.runner.start()
    id_ = submit(redis, steps=3, batch=2, classes=[0, 0], class_names=["Circle", "Circle"])
    worker.take()
    with monkeypatch.context() as away:
        away.setattr(worker.redis, "evalsha", lost)

        def drawn() -> bool:
            with pytest.raises(RedisConnectionError):
                worker.tick()
            return worker.runner.steps == 3

        eventually(drawn, what="the last step")
        with pytest.raises(RedisConnectionError):
            worker.tick()
        assert worker.dispatch.holds(id_)
    eventually(lambda: worker.ticked() and not worker.dispatch.holds(id_))
    events = [fields[b"event"] for _, fields in redis.xrange(keys.events(id_))]
    assert events == [b"status", b"image", b"image", b"done"]
    assert state(redis, id_)[0] == b"succeeded"
    assert not redis.exists(keys.job(id_), keys.STARTED)


def test_a_slow_load_holds_up_neither_heartbeats_nor_cancels(
    redis: Any, workers: tuple[Worker, Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = workers
    write_checkpoint(tmp_path / "checkpoints", step=2, published=False)
    worker.catalog.refresh()
    go_on = threading.Event()

    def slow_load(*args: Any, **kwargs: Any) -> Any:
        go_on.wait(30)
        return load_model(*args, **kwargs)

    monkeypatch.setattr("worker.catalog.load_model", slow_load)
    worker.runner.start()
    canceled, drawn = (submit(redis, model="tiny@0000002", steps=2) for _ in range(2))
    for _ in range(2):
        worker.take()
    running = submit(redis, steps=2)
    eventually(lambda: worker.ticked() and state(redis, running)[0] == b"succeeded")
    assert worker.dispatch.advancing()
    redis.sadd(keys.CANCELS, canceled)
    eventually(lambda: worker.ticked() and state(redis, canceled)[0] == b"canceled")
    assert state(redis, drawn)[0] == b"queued"
    go_on.set()
    eventually(lambda: worker.ticked() and state(redis, drawn)[0] == b"succeeded")


def test_nothing_is_recovered_before_a_ttl_has_passed_since_redis_came_back(
    redis: Any, workers: tuple[Worker, Worker]
) -> None:
    holder, other = workers
    id_ = submit(redis)
    holder.take()
    sleep_past_the_ttl(redis)  # Redis was away, and nobody could send a heartbeat
    other.rq.lost()
    other.rq.keep_house()
    assert state(redis, id_) == (b"queued", b"a")
    assert redis.zcard(keys.STARTED) == 1
    sleep_past_the_ttl(redis)
    other.rq.keep_house()
    assert redis.zcard(keys.STARTED) == 0
    assert redis.lrange(keys.QUEUE_LIST, 0, -1) == [id_.encode()]


def test_a_lost_connection_does_not_lose_what_the_step_draws(
    redis: Any, workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = workers
    worker.runner.start()
    id_ = submit(redis, steps=200)
    worker.take()
    with monkeypatch.context() as away:
        away.setattr(worker.redis, "evalsha", lost)
        eventually(lambda: worker.runner.steps > 0, what="a step")
        with pytest.raises(RedisConnectionError):
            worker.tick()
    assert not redis.exists(keys.batch("a"))
    worker.tick()
    assert redis.get(keys.batch("a")) == id_.encode()


def lost(*_args: Any, **_kwargs: Any) -> None:
    raise RedisConnectionError("lost")
