"""A generation's server-sent events, typed, and where a stream that broke goes on. No I/O."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from httpx_sse import ServerSentEvent
from pydantic import BaseModel

from emaki.client.retries import passes
from emaki.errors import EmakiError, Refused
from wire.schemas import Generation, ImageEntry, Preview, Progress

Name = Literal["status", "progress", "preview", "image", "done"]
Payload: TypeAlias = Generation | Progress | Preview | ImageEntry
_KINDS: dict[str, type[BaseModel]] = {
    "status": Generation,
    "progress": Progress,
    "preview": Preview,
    "image": ImageEntry,
    "done": Generation,
}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_DRY = 3
SILENCE = 60.0  # seconds; the service says at least every 20 that it is still there


@dataclass(frozen=True)
class Event:
    """Something that happened to a generation.

    Attributes:
        id: to go on after it.
        data: the whole generation for `status` and `done`, else what the name says.
    """

    id: str
    name: Name
    data: Payload


class Place:
    """Where a stream is: what comes next after a connection broke, and whether to try again.

    Args:
        after: an event's id, to go on after it.
        retries: connections in a row that may bring nothing.
    """

    def __init__(self, after: str | None, *, retries: int) -> None:
        self._after, self._retries = after, retries
        self._vain = 0
        self.done = False

    @property
    def headers(self) -> dict[str, str]:
        """For the next connection."""
        return {} if self._after is None else {"Last-Event-ID": self._after}

    @property
    def dry(self) -> bool:
        """Whether several connections have brought nothing: of what has ended, nothing will."""
        return self._vain >= _DRY

    def take(self, raw: ServerSentEvent) -> Event | None:
        """The next event; None for one that this version does not know."""
        self._vain = 0
        self._after = raw.id or self._after
        self.done = raw.event == "done"
        kind = _KINDS.get(raw.event)
        if kind is None:
            return None
        data = kind.model_validate_json(raw.data)
        return Event(raw.id, raw.event, data)  # type: ignore[arg-type]  # as the kinds are named

    def broken(self, error: EmakiError | None) -> float:
        """A connection ended, by itself or with an error; seconds until the next.

        Raises:
            EmakiError: that error, if it will not pass.
        """
        self._vain += 1
        if error is not None and (not passes(error) or self._vain > self._retries):
            raise error
        told = error.retry_after if isinstance(error, Refused) else None
        return told if told is not None else min(_FIRST_PAUSE * 2**self._vain, _LONGEST_PAUSE)
