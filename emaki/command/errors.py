"""What goes wrong in a command: one line on standard error and an exit code."""

import functools
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

from emaki.errors import EmakiError

P = ParamSpec("P")
R = TypeVar("R")
FAILED, INTERRUPTED = 2, 130
OURS = frozenset({"app", "emaki", "models", "serve", "training", "wire", "worker"})


def in_one_line(extra: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a command say what a person can mend, instead of a traceback.

    Args:
        extra: of the package, that has what the command needs.
    """

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except EmakiError as error:
                fail(str(error))
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] in OURS:
                    raise  # not what is missing, but how this is packed
                fail(f"{error.name} is not installed; run: pip install 'emaki[{extra}]'")
            except OSError as error:
                fail(in_words(error))
            except KeyboardInterrupt:
                fail("stopped", code=INTERRUPTED)

        return told

    return decorate


def fail(message: str, *, code: int = FAILED) -> NoReturn:
    """Leave with one line."""
    print(f"error: {message}" if code == FAILED else message, file=sys.stderr)
    raise typer.Exit(code)


def in_words(error: OSError) -> str:
    """What the system says, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
