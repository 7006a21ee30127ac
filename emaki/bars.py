"""A progress bar in pictures, where somebody sees it: a terminal or a notebook."""

import sys
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"


class Bar:
    """Counts to ``pictures``, parts of one included.

    Args:
        shown: None: where standard error is a terminal, or in a notebook.
    """

    def __init__(self, what: str, pictures: int, *, shown: bool | None) -> None:
        desc = f"{what} {pictures} picture{'' if pictures == 1 else 's'}"
        hidden = not (_is_seen() if shown is None else shown)
        self._bar: tqdm[Any] = tqdm(
            desc=desc, total=pictures, disable=hidden, bar_format=_FORMAT, leave=False
        )

    def at(self, done: float) -> None:
        """So many pictures are done; never fewer than before."""
        if done > self._bar.n:
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._bar.close()


def _is_seen() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or hasattr(shell, "kernel")
