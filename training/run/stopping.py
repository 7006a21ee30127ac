"""Why a run ends before its last step: a signal, or a loss that is no number any more."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor

from training.errors import TrainingError
from training.run.learner import Outcome


class Watch:
    """Losses and gradient norms since the last look, still on the device."""

    def __init__(self, step: int) -> None:
        self._from = step
        self._seen: list[Tensor] = []

    def add(self, outcome: Outcome) -> None:
        """Remember a step without waiting for it."""
        self._seen.append(torch.stack([outcome.loss, outcome.norm]))

    def check(self, step: int, saved: int | None) -> float:
        """The mean loss since the last look.

        Raises:
            TrainingError: a loss or gradient is not finite.
        """
        seen = torch.stack(self._seen).cpu()
        bad = (~seen.isfinite()).any(dim=1).nonzero()
        if len(bad):
            first = int(bad[0])
            what = "gradient" if bool(seen[first, 0].isfinite()) else "loss"
            value = float(seen[first, 1 if what == "gradient" else 0])
            raise TrainingError(
                f"the {what} became {value} at step {self._from + first + 1}; the last good "
                f"checkpoint is {named(saved)}; resume with a lower train.learning_rate"
            )
        self._seen.clear()
        self._from = step
        return float(seen[:, 0].mean())


def named(step: int | None) -> str:
    """A checkpoint's step in a sentence."""
    return "none of this run" if step is None else f"step {step}"


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, so that a run stops between two steps."""
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
