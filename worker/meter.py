"""How fast the engine is: counted in its thread, read from the one that talks to Redis."""

import threading
import time
from dataclasses import dataclass, field

from wire.metrics import Tally
from worker.engine.engine import LastStep

_SMOOTHING = 0.1


@dataclass(frozen=True)
class Speed:
    """What an engine does, as measured lately; zeros: not yet.

    Attributes:
        pace: network evaluations a second when there is much to do.
        full_step: seconds of a step then.
        lone_step: seconds of a step with as few places as any.
    """

    pace: float = 0.0
    full_step: float = 0.0
    lone_step: float = 0.0


@dataclass
class _Kind:
    """Steps whose batch was padded to the same size."""

    seconds: float = 0.0
    rate: float = 0.0  # evaluations a second


@dataclass
class Meter:
    """What steps cost lately, and what is to be told to Prometheus."""

    seconds: float = 0.0  # of a step, lately
    _ended: float = field(default_factory=time.monotonic)  # the last one, or none yet
    _kinds: dict[int, _Kind] = field(default_factory=dict)  # by places computed
    _tally: Tally = field(default_factory=Tally)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, step: LastStep, seconds: float) -> None:
        """Note one step and how long it took."""
        seconds = max(seconds, 1e-9)
        with self._lock:
            self._ended = time.monotonic()
            self.seconds = _smoothed(self.seconds, seconds)
            kind = self._kinds.setdefault(step.computed, _Kind())
            kind.seconds = _smoothed(kind.seconds, seconds)
            kind.rate = _smoothed(kind.rate, step.places / seconds)
            self._tally.add("steps")
            self._tally.add("image_steps", step.rows)
            self._tally.add("batch_places", step.places, label="used")
            self._tally.add("batch_places", step.computed - step.places, label="padded")
            self._tally.observe("step_seconds", seconds)

    def quiet_seconds(self) -> float:
        """How long ago the last step was, or the start."""
        return time.monotonic() - self._ended

    @property
    def speed(self) -> Speed:
        """How fast the engine is, alone and with much to do."""
        with self._lock:
            if not self._kinds:
                return Speed()
            best = max(self._kinds.values(), key=lambda kind: kind.rate)
            lone = self._kinds[min(self._kinds)]
            return Speed(best.rate, best.seconds, min(lone.seconds, best.seconds))

    def take(self) -> tuple[dict[str, int], dict[str, float]]:
        """What was counted since the last call."""
        with self._lock:
            return self._tally.take()


def _smoothed(old: float, new: float) -> float:
    return old + (new - old) * _SMOOTHING if old else new
