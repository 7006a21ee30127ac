"""Settings that cannot work, as a person is told of them: one line each. Knows no setting's use."""

import sys

from pydantic import ValidationError

# Their values may hold a password or a key.
_SECRET = frozenset({"redis_url", "images", "api_keys", "webhook_secret"})


def complain(error: ValidationError) -> None:
    """Say what is wrong with each variable that was refused."""
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        print(f"error: {_named(problem['loc'], problem['input'])}{message}", file=sys.stderr)


def _named(location: tuple[int | str, ...], value: object) -> str:
    if not location:  # of several variables: the message names them
        return ""
    name = "EMAKI_" + "_".join(map(str, location)).upper()
    return f"{name}: " if _SECRET.intersection(location) else f"{name}={value!r}: "
