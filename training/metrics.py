"""A run's figures in a file: `metrics.jsonl`, a JSON object a line, each with its step.

{"step": 10, "loss": 0.42, "learning_rate": 0.001, "pictures_per_second": 81.3, ...}
{"step": 100, "held_out": {"seen": 0.21, "unseen": 0.23, ...}}
{"step": 100, "quality": {...}}       what `evaluate` found of that checkpoint
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All lines of a model's folder that can be read, oldest first; none where there is no file."""
    try:
        text = (folder / METRICS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.split("\n"):
        try:
            values = json.loads(line)
        except ValueError:  # a killed process may have left half a line
            continue
        if isinstance(values, dict) and isinstance(values.get("step"), int):
            found.append(values)
    return found


def forget_after(folder: Path, step: int) -> None:
    """Drop the lines of steps after this one, which a resumed run takes again."""
    lines = [values for values in read_metrics(folder) if values["step"] <= step]
    if (folder / METRICS).is_file():
        fresh = folder / f".{METRICS}.part"
        fresh.write_text("".join(map(_line, lines)), encoding="utf-8")
        fresh.replace(folder / METRICS)


def append(folder: Path, values: Mapping[str, Any]) -> None:
    """Add a line."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(_line(values))


def curve(lines: Sequence[Mapping[str, Any]], *keys: str) -> list[tuple[float, float]]:
    """(step, value) of a figure, by its key and the keys within."""
    found = []
    for values in lines:
        value: Any = values
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            found.append((float(values["step"]), float(value)))
    return found


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
