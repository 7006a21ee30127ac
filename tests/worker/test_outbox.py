"""What Redis is told waits in order, and goes in scripts that are short."""

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from wire import life
from wire.life import Call, Life
from worker import outbox
from worker.outbox import Outbox


class Recorded(Life):
    """Answers with the number of each call, and keeps how many came together."""

    def __init__(self) -> None:
        self.together: list[int] = []
        self.away = False

    def __call__(self, call: Call[Any]) -> Any:
        if self.away:
            raise RedisConnectionError("away")
        names = [one for one in call.args if one in ("preview", "cancels", "drawing")]
        before = sum(self.together)
        self.together.append(len(names))
        return [before + number for number in range(len(names))]


def preview(size: int = 1) -> Call[bool]:
    return life.preview("x", "a", index=0, step=1, png=b"x" * size)


@pytest.fixture
def redis() -> Recorded:
    return Recorded()


@pytest.fixture
def waiting(redis: Recorded) -> Outbox:
    return Outbox(redis)


def test_all_that_waits_goes_in_one_round_trip_between_first_and_last(
    redis: Recorded, waiting: Outbox
) -> None:
    heard: list[object] = []
    for _ in range(3):
        waiting.add("x", preview(), heard.append)
    answers = waiting.send(first=life.drawing("a", []), last=[life.cancels(), life.cancels()])
    assert redis.together == [6]
    assert (heard, answers) == ([1, 2, 3], [4, 5])
    assert waiting.send(first=None, last=[]) == []
    assert redis.together == [6], "nothing waited"


def test_what_is_much_or_many_is_parted_and_keeps_its_order(
    redis: Recorded, waiting: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_MOST_CALLS", 2)
    monkeypatch.setattr(outbox, "_MOST_BYTES", 3000)
    heard: list[object] = []
    for size in (1, 1, 1, 5000, 1):
        waiting.add("x", preview(size), heard.append)
    answers = waiting.send(first=life.drawing("a", []), last=[life.cancels()])
    assert redis.together == [3, 1, 1, 2], "one alone may be larger"
    assert heard == [1, 2, 3, 4, 5]
    assert answers == [6]


def test_what_is_not_answered_still_waits(redis: Recorded, waiting: Outbox) -> None:
    heard: list[object] = []
    waiting.add("x", preview(), heard.append)
    waiting.add("y", preview(), heard.append)
    redis.away = True
    with pytest.raises(RedisConnectionError):
        waiting.send(first=None, last=[life.cancels()])
    redis.away = False
    waiting.drop("x")
    assert waiting.send(first=None, last=[]) == []
    assert heard == [0]
    assert redis.together == [1], "what was asked besides is asked anew, or not"
