"""Request headers: how long the client would wait, whether for whole addresses or the picture."""

from dataclasses import dataclass

MAX_WAIT = 60


@dataclass(frozen=True)
class Preferences:
    """What `Prefer` asks for (RFC 7240).

    Attributes:
        wait: seconds to hold the answer; None: none.
        absolute: whether addresses in answers are to begin with the server's.
    """

    wait: int | None = None
    absolute: bool = False

    @classmethod
    def parse(cls, header: str) -> "Preferences":
        """The header's known preferences; a malformed one counts as absent."""
        wait, absolute = None, False
        for preference in header.split(","):
            name, _, value = preference.split(";")[0].partition("=")
            name, value = name.strip().lower(), value.strip().strip('"')
            if name == "wait" and wait is None:
                wait = _seconds(value)
            absolute = absolute or (name, value.lower()) == ("urls", "absolute")
        return cls(wait, absolute)

    @property
    def applied(self) -> dict[str, str]:
        """The header that says what was done."""
        parts = [] if self.wait is None else [f"wait={self.wait}"]
        parts += ["urls=absolute"] if self.absolute else []
        return {"Preference-Applied": ", ".join(parts)} if parts else {}


def _seconds(value: str) -> int | None:
    """Capped at 60, which is also what `wait` without a number means."""
    if not value:
        return MAX_WAIT
    return min(int(value[:9]), MAX_WAIT) if value.isascii() and value.isdigit() else None


def wants_png(accept: str | None) -> bool:
    """Whether `Accept` names image/png, and does not like JSON better."""
    quality = {"image/png": 0.0, "application/json": 0.0}
    for part in (accept or "").split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type in quality:
            quality[media_type] = _quality(parameters)
    return 0 < quality["image/png"] >= quality["application/json"]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
