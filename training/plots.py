"""Line charts as SVG, to stand in a page: small, sharp at any size, and drawn in no time.

`charts` has matplotlib's, for what is looked at once; these are drawn at every report of a run.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from training.charts import COLORS

Line = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 30, 40
_MOST_POINTS = 400
_TICKS = 5


def line_chart(
    title: str, lines: Mapping[str, Line], *, x: str = "step", logarithmic: bool = False
) -> str:
    """Lines over one pair of axes; "" where there is nothing to draw.

    Args:
        x: what the horizontal axis is called, which begins at 0.
        logarithmic: whether the vertical axis is; values that are not positive are left out.
    """
    drawn = {
        name: [
            (a, math.log10(b) if logarithmic else b)
            for a, b in line
            if math.isfinite(b) and (b > 0 or not logarithmic)
        ]
        for name, line in lines.items()
    }
    points = [point for line in drawn.values() for point in line]
    if not points:
        return ""
    left, right = 0.0, max(point[0] for point in points) or 1.0
    low, high = _range([point[1] for point in points])

    def place(point: tuple[float, float]) -> str:
        across = (point[0] - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        up = (point[1] - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{_LEFT + across:.1f},{_HEIGHT - _BOTTOM - up:.1f}"

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="11">',
        f'<text x="{_LEFT}" y="16" font-size="13">{escape(title)}</text>',
    ]
    for value in _powers(low, high) if logarithmic else _ticks(low, high):
        _, y = place((left, value)).split(",")
        shown = _short(10**value if logarithmic else value)
        parts.append(
            f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{shown}</text>'
        )
    for value in _ticks(left, right):
        across, _ = place((value, low)).split(",")
        parts.append(
            f'<text x="{across}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{_short(value)}</text>"
        )
    parts.append(
        f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x)}</text>"
    )
    legend = _WIDTH - _RIGHT
    for index, (name, line) in enumerate(reversed(drawn.items())):
        color = COLORS[(len(drawn) - 1 - index) % len(COLORS)]
        path = " ".join(map(place, _thinned(line)))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        parts += [
            f'<circle cx="{cx}" cy="{cy}" r="2.5" fill="{color}"/>'
            for cx, cy in (place(point).split(",") for point in (line if len(line) < 12 else ()))
        ]
        if name:
            parts.append(
                f'<text x="{legend}" y="16" text-anchor="end" fill="{color}">{escape(name)}</text>'
            )
            legend -= 7 * len(name) + 12
    return "".join(parts) + "</svg>"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Some round values between two."""
    step = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(step * by for by in (1, 2, 5, 10) if (high - low) / (step * by) <= _TICKS)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Logarithms of round values between two; of any values, where no two of these are."""
    exponents = range(math.floor(low), math.ceil(high) + 1)
    marks = [exponent + math.log10(by) for exponent in exponents for by in (1, 2, 5)]
    found = [mark for mark in marks if low <= mark <= high]
    if len(found) > 1:
        return found[:: -(-len(found) // (_TICKS + 1))]
    return [math.log10(value) for value in _ticks(10**low, 10**high)]


def _thinned(line: Line) -> Line:
    """Means of neighbours, where there are more points than can be seen."""
    if len(line) <= _MOST_POINTS:
        return line
    size = -(-len(line) // _MOST_POINTS)
    parts = [line[start : start + size] for start in range(0, len(line), size)]
    return [
        (sum(a for a, _ in part) / len(part), sum(b for _, b in part) / len(part)) for part in parts
    ]


def _short(value: float) -> str:
    if abs(value) >= 10000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"
