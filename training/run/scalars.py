"""A run's curves for TensorBoard, when it is installed: `tensorboard --logdir checkpoints`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Scalars:
    """Writes events beside the reports; does nothing where TensorBoard is missing.

    A full disk ends the curves, not the run; ``say`` is told.
    """

    def __init__(
        self, folder: Path, *, first_step: int, wanted: bool, say: Callable[[str], None]
    ) -> None:
        self._folder, self._say = folder, say
        self._writer: Any = None
        if wanted:
            self._write(lambda: self._open(first_step))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._write(self._writer.close)

    def add(self, step: int, **values: float) -> None:
        """One point of each curve."""
        for name, value in values.items():
            if self._writer is not None:
                self._write(partial(self._writer.add_scalar, f"train/{name}", value, step))

    def _open(self, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # What an interrupted run wrote after its last checkpoint is drawn again.
        self._writer = SummaryWriter(self._folder, purge_step=first_step + 1)

    def _write(self, act: Callable[[], object]) -> None:
        """Do it; TensorBoard raises here what its own thread met when it wrote earlier values."""
        try:
            act()
        except OSError as error:
            self._writer = None
            self._say(
                f"warning: no more curves for TensorBoard ({error}); training goes on without; "
                f"free some space in {self._folder} and --resume to have them again"
            )
