"""How fast the engine is: counted in its thread, read from the one that talks to Redis."""

import threading
from dataclasses import dataclass, field

from wire.metrics import Tally
from worker.engine.engine import LastStep

_SMOOTHING = 0.1


@dataclass
class Meter:
    """What steps cost lately, and what is to be told to Prometheus."""

    seconds: float = 0.0  # of a step, lately
    _rates: dict[int, float] = field(default_factory=dict)  # places -> evaluations a second, lately
    _tally: Tally = field(default_factory=Tally)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, step: LastStep, seconds: float) -> None:
        """Note one step and how long it took."""
        seconds = max(seconds, 1e-9)
        rate = self._rates.get(step.computed, 0.0)
        with self._lock:
            self.seconds = _smoothed(self.seconds, seconds)
            self._rates[step.computed] = _smoothed(rate, step.places / seconds)
            self._tally.add("steps")
            self._tally.add("image_steps", step.rows)
            self._tally.add("batch_places", step.places, label="used")
            self._tally.add("batch_places", step.computed - step.places, label="padded")
            self._tally.observe("step_seconds", seconds)

    @property
    def pace(self) -> float:
        """Network evaluations a second when there is much to do, as measured; 0.0: not yet."""
        with self._lock:
            return max(self._rates.values(), default=0.0)

    def take(self) -> tuple[dict[str, int], dict[str, float]]:
        """What was counted since the last call."""
        with self._lock:
            return self._tally.take()


def _smoothed(old: float, new: float) -> float:
    return old + (new - old) * _SMOOTHING if old else new
