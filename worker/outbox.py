"""Calls that Redis is to run, kept in order until it has answered: many in one round trip.

Knows no generation, and nothing of what a call means.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from wire.life import Call, Life, together

T = TypeVar("T")
# Of one script: nothing else runs in Redis meanwhile.
_MOST_CALLS, _MOST_BYTES = 64, 2**20


@dataclass(frozen=True)
class _Waiting:
    about: str
    call: Call[Any]
    then: Callable[[Any], None]

    @property
    def size(self) -> int:
        return sum(len(value) for value in self.call.args if isinstance(value, str | bytes))


class Outbox:
    """What waits to be told, and what is asked besides."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._waiting: deque[_Waiting] = deque()

    def add(self, about: str, call: Call[T], then: Callable[[T], None]) -> None:
        """Keep a call until it is answered; ``then`` is told the answer."""
        self._waiting.append(_Waiting(about, call, then))

    def drop(self, about: str) -> None:
        """Forget what is about this and has not been told."""
        self._waiting = deque(one for one in self._waiting if one.about != about)

    def send(self, *, first: Call[Any] | None, last: list[Call[Any]]) -> list[Any]:
        """Run all that waits, between ``first`` and ``last``, which are lost if this fails.

        Returns:
            The answers to ``last``.

        Raises:
            RedisError: Redis is away, or refuses; what it has not answered still waits.
        """
        head = [] if first is None else [first]
        while True:
            part = list(self._part())
            whole = len(part) == len(self._waiting)
            tail = last if whole else []
            calls = [*head, *(one.call for one in part), *tail]
            answers = self._life(together(calls)) if calls else []
            for one, answer in zip(part, answers[len(head) :], strict=False):
                self._waiting.popleft()
                one.then(answer)
            if whole:
                return answers[len(calls) - len(tail) :]
            head = []

    def _part(self) -> Iterator[_Waiting]:
        size = 0
        for number, one in enumerate(self._waiting):
            size += one.size
            if number and (number == _MOST_CALLS or size > _MOST_BYTES):
                return
            yield one
