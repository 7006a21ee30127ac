"""A generation's way from the queue to its pictures, as spans of its client's trace.

Told once it has ended, from times that were noted on the way: steps never wait for it. Nothing is
noted of what nobody traces.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from wire.record import Record
from wire.traces import Traces, Value


@dataclass
class _Way:
    taken: float
    begun: float | None = None  # the engine has it: its version and words are loaded
    first_drawn: float | None = None  # a picture's last step is made, and its PNG begins
    last_drawn: float = 0.0
    encoded: float = 0.0  # the last PNG is made
    encoding: float = 0.0  # seconds for all of them
    pngs: int = 0


class Journeys:
    """Of the generations in hand; all times are Unix seconds."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._ways: dict[str, _Way] = {}

    def taken(self, record: Record) -> None:
        """It is in hand here."""
        if record.traceparent:
            self._ways[record.id] = _Way(taken=time.time())

    def begun(self, id_: str) -> None:
        """The engine has it."""
        if id_ in self._ways:
            self._ways[id_].begun = time.time()

    def encoded(self, id_: str, seconds: float) -> None:
        """A PNG was made, in so many seconds until now."""
        way = self._ways.get(id_)
        if way is not None:
            way.encoded = time.time()
            way.last_drawn = way.encoded - seconds
            way.first_drawn = way.first_drawn or way.last_drawn
            way.encoding += seconds
            way.pngs += 1

    def dropped(self, id_: str) -> None:
        """It goes on elsewhere, or has ended there."""
        self._ways.pop(id_, None)

    def ended(self, record: Record) -> None:
        """Tell its way."""
        way = self._ways.pop(record.id, None)
        if way is None:
            return
        end = record.finished or time.time()
        parts: list[tuple[str, float, float, Mapping[str, Value]]] = [
            ("queue", record.created, way.taken, {"emaki.model": record.request.model}),
            ("load", way.taken, way.begun or end, {}),
        ]
        if way.begun is not None:
            steps: dict[str, Value] = {
                "emaki.status": record.status.value,
                "emaki.steps": record.request.steps,
                "emaki.images": record.request.batch,
                "emaki.image_steps": record.row_steps,
                "emaki.evaluations": record.evaluated,
            }
            parts.append(("steps", way.begun, max(way.begun, way.last_drawn or end), steps))
        if way.first_drawn is not None:
            png: dict[str, Value] = {
                "emaki.images": way.pngs,
                "emaki.seconds": round(way.encoding, 6),
            }
            parts.append(("png", way.first_drawn, way.encoded, png))
        for name, begin, over, facts in parts:
            span = self._traces.begin(name, parent=record.traceparent, at=begin)
            span.end({"emaki.generation.id": record.id, **facts}, at=over)
