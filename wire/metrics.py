"""What workers count for `/metrics`: names, buckets, and how a histogram lies in a Redis hash.

Workers add to the hash `emaki:metrics`; the API reads it and tells Prometheus. Field names are
`<counter>`, `<counter>:<label>`, and for a histogram `<name>:<upper bound>` (not cumulative; the
last bound is `inf`) with `<name>:sum`.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping

INF = "inf"
COUNTERS = {
    "steps": "Steps that engines made.",
    "image_steps": "Rows that engines advanced by a step.",
    "recoveries": "Requests taken back from a worker that died or slept.",
    "checkpoints_refused": "Checkpoints that could not be served.",
}
LABELLED = {
    "generations": ("status", "Generations that ended."),
    "batch_places": ("kind", "Places in the network's batch, used and padded."),
    "webhooks": ("outcome", "Messages put into webhooks' queues, and what came of their tries."),
}
HISTOGRAMS: dict[str, tuple[tuple[float, ...], str]] = {
    "step_seconds": (
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
        "How long a step of the engine took.",
    ),
    "first_step_seconds": (
        (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0),
        "From submission to the first step.",
    ),
    "image_seconds": (
        (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0),
        "Run time of a generation, per image.",
    ),
}


class Tally:
    """Counts that wait to be added to Redis."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, amount: int = 1, *, label: str | None = None) -> None:
        """Raise a counter."""
        self._counts[name if label is None else f"{name}:{label}"] += amount

    def observe(self, name: str, value: float) -> None:
        """Note one value of a histogram."""
        bounds = HISTOGRAMS[name][0]
        place = bisect_left(bounds, value)
        self._counts[f"{name}:{bounds[place] if place < len(bounds) else INF}"] += 1
        self._sums[f"{name}:sum"] += value

    def take(self) -> tuple[dict[str, int], dict[str, float]]:
        """Whole counts and sums since the last call."""
        taken = dict(self._counts), dict(self._sums)
        self._counts, self._sums = Counter(), defaultdict(float)
        return taken

    def merge(self, counts: Mapping[str, int], sums: Mapping[str, float]) -> None:
        """Add what another tally, or this one before, gave out."""
        self._counts.update(counts)
        for name, value in sums.items():
            self._sums[name] += value
