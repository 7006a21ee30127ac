"""What a person watching a training run sees: a bar on a terminal, a line now and then in a log.

rich draws the bar when it is installed and standard error is a terminal.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts optimizer steps; use as a context manager."""

    def __init__(self, *, start: int, until: int, batch_size: int, shown: bool = True) -> None:
        self._start, self._until, self._batch = start, until, batch_size
        self._began = self._printed = time.monotonic()
        self._bar: Any = _rich_bar() if shown and sys.stderr.isatty() else None
        self._shown = shown
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                "training", total=self._until, completed=self._start, facts=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, *, loss: float, last: bool) -> float:
        """Show step ``step`` (its count done), now if a terminal, else every half minute.

        Returns:
            Pictures per second since the start.
        """
        now = time.monotonic()
        rate = (step - self._start) * self._batch / max(now - self._began, 1e-9)
        remaining = (self._until - step) * self._batch / max(rate, 1e-9)
        facts = f"loss {loss:.4f}  {rate:.0f} pictures/s  ETA {_clock(remaining)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, facts=facts)
        elif self._shown and (now - self._printed >= _SECONDS_BETWEEN_LINES or last):
            self._printed = now
            print(f"step {step}/{self._until}  {facts}", file=sys.stderr, flush=True)
        return rate

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        elif self._shown:
            print(text, file=sys.stderr, flush=True)


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        return None
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        console=Console(stderr=True),
        redirect_stdout=False,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
