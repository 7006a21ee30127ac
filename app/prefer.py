"""Two request headers: how long the client would wait, and whether it wants the picture itself."""

MAX_WAIT = 60


def wait_seconds(prefer: str | None) -> int | None:
    """N of `Prefer: wait=N` (RFC 7240), capped at 60; None when absent or malformed."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.split(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:9]), MAX_WAIT)
    return None


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
