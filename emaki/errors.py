"""What can go wrong, each in one line for a person.

EmakiError
├── CannotDraw     what was asked for cannot be drawn here
├── ServiceAway    nobody answers at the address
├── Refused        the service answered with an error
└── Unfinished     a generation failed or was canceled
"""

from collections.abc import Sequence

from wire.schemas import FieldError


class EmakiError(Exception):
    """Whatever a person can mend; the message says what and how."""


class CannotDraw(EmakiError):
    """What was asked for cannot be drawn: a wrong value, or a model that is not there."""


class ServiceAway(EmakiError):
    """No service answers."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"no service answers at {url} ({why}); start one with `emaki serve`, or say where it is"
        )


class Refused(EmakiError):
    """The service answered with an error.

    Attributes:
        status: of HTTP.
        code: stable, safe to match on.
        errors: the fields that were refused.
        retry_after: seconds, where the service says when to try again.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.errors = status, code, list(errors)
        self.retry_after = retry_after

    @property
    def temporary(self) -> bool:
        """Whether the same request may do a little later.

        A full store is not: it is for whoever asks to make room.
        """
        return self.status in (408, 429, 502, 503, 504) and self.code != "storage_full"


class Unfinished(EmakiError):
    """A generation ended without its pictures."""

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code
