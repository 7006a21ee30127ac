"""A run's curves for TensorBoard, when it is installed: `tensorboard --logdir checkpoints`."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Scalars:
    """Writes events beside the reports; does nothing where TensorBoard is missing."""

    def __init__(self, folder: Path, *, first_step: int, wanted: bool) -> None:
        self._writer = _writer(folder, first_step) if wanted else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, step: int, **values: float) -> None:
        """One point of each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"train/{name}", value, step)


def _writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # What an interrupted run wrote after its last checkpoint is drawn again.
    return SummaryWriter(folder, purge_step=first_step + 1)
