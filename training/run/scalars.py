"""A run's curves: in `metrics.jsonl`, for TensorBoard where it is installed, and where asked for.

`tensorboard --logdir checkpoints` shows them. A full disk, or a service that is away, ends these
curves and not the run; ``say`` is told once.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training import metrics
from training.run.posthoc import SNAPSHOTS
from training.run.tracking import Tracker

REPORTS = "reports"  # the folder beside the checkpoints that has strips and TensorBoard's events


class Scalars:
    """Writes what it is given; use as a context manager.

    Args:
        folder: the model's.
        first_step: what was written of later steps is forgotten: an interrupted run draws what
            came after its last checkpoint again.
        tracker: a service that takes the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        first_step: int,
        wanted: bool,
        say: Callable[[str], None],
        tracker: Tracker | None = None,
    ) -> None:
        self._folder, self._say = folder, say
        self._sinks: dict[str, Callable[[int, Mapping[str, float]], None]] = {}
        self._ends: dict[str, Callable[[], object]] = {}
        self._tracker = tracker
        if not wanted:
            return
        if tracker is not None:
            self._sinks["the tracking service"] = tracker.log
            self._ends["the tracking service"] = tracker.close
        self._sinks[metrics.METRICS] = self._append
        self._do(metrics.METRICS, lambda: self._begin(first_step))
        self._do("TensorBoard", lambda: self._open_tensorboard(first_step))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, end in list(self._ends.items()):
            if name in self._sinks:
                self._do(name, end)

    def add(self, step: int, **values: float) -> None:
        """One point of each curve."""
        for name, sink in list(self._sinks.items()):
            self._do(name, partial(sink, step, values))

    def note(self, step: int, **values: Any) -> None:
        """A line of `metrics.jsonl` alone, of anything that JSON has."""
        if metrics.METRICS in self._sinks:
            line = {"step": step, **values}
            self._do(metrics.METRICS, lambda: metrics.append(self._folder, line))

    def show(self, step: int, strip: Path) -> None:
        """A denoising strip, for a service."""
        tracker, name = self._tracker, "the tracking service"
        if tracker is not None and name in self._sinks:
            self._do(name, lambda: tracker.show(step, strip))

    def _begin(self, first_step: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        metrics.forget_after(self._folder, first_step)
        strips, snapshots = self._folder / REPORTS, self._folder / SNAPSHOTS
        for path in (*strips.glob("*.png"), *snapshots.glob("*.safetensors")):
            if path.stem.isdecimal() and int(path.stem) > first_step:
                path.unlink(missing_ok=True)

    def _append(self, step: int, values: Mapping[str, float]) -> None:
        metrics.append(self._folder, {"step": step, **values})

    def _open_tensorboard(self, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # What an interrupted run wrote after its last checkpoint is drawn again.
        writer: Any = SummaryWriter(self._folder / REPORTS, purge_step=first_step + 1)

        def add(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(f"train/{name}", value, step)

        self._sinks["TensorBoard"], self._ends["TensorBoard"] = add, writer.close

    def _do(self, name: str, act: Callable[[], object]) -> None:
        """Do it; TensorBoard raises here what its own thread met when it wrote earlier values."""
        try:
            act()
        except OSError as error:
            self._end(name, error, f"free some space in {self._folder} and --resume")
        except Exception as error:  # a service's client raises whatever it meets
            if name != "the tracking service":
                raise
            self._end(name, error, "--resume")

    def _end(self, name: str, error: Exception, remedy: str) -> None:
        self._sinks.pop(name, None)
        self._say(
            f"warning: no more curves for {name} ({error}); training goes on without; {remedy} to "
            "have them again"
        )
