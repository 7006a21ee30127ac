"""Small charts with Pillow alone: lines and grouped bars, for `inspect`.

Units are pixels of a page whose pictures come out `SCALE` times as large, so that they stay sharp
on dense screens. Knows nothing of what it draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

SCALE = 2
_SMOOTH = 2  # drawn this much larger again, then reduced: Pillow's lines are not anti-aliased
_SIZE = (620, 400)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 70, 52
# Okabe & Ito's colours, which people with any colour vision tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_INK, _FAINT = "#222222", "#dddddd"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its label, its ends, and where its ticks stand (None: at round numbers)."""

    label: str
    low: float
    high: float
    ticks: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve; ``dots`` are points of it to mark."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dots: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One bar per category; ``texts`` stand above them."""

    label: str
    values: Sequence[float]
    texts: Sequence[str] = field(default_factory=tuple)


def line_chart(
    title: str, *, x: Axis, y: Axis, lines: Sequence[Line], guides: Sequence[float] = ()
) -> Image.Image:
    """Curves over a numeric axis; ``guides`` are heights to draw a dashed line at."""
    chart = _Chart(title, y, [line.label for line in lines])
    for tick in _ticks(x):
        at = chart.left + (tick - x.low) / (x.high - x.low) * chart.width
        chart.vertical(at)
        chart.text((at, chart.bottom + 6), _number(tick), anchor="ma")
    chart.text((chart.left + chart.width / 2, _SIZE[1] - 8), x.label, anchor="md")

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share = (point[0] - x.low) / (x.high - x.low)
        return chart.left + share * chart.width, chart.height_of(point[1])

    for color, line in zip(COLORS, lines, strict=False):
        chart.curve([place(point) for point in zip(line.x, line.y, strict=True)], color)
        for dot in line.dots:
            chart.dot(place(dot), color)
    for guide in guides:
        chart.dashed(guide)
    return chart.finish()


def bar_chart(
    title: str,
    *,
    x_label: str,
    y: Axis,
    categories: Sequence[str],
    bars: Sequence[Bars],
    guides: Sequence[float] = (),
) -> Image.Image:
    """Groups of bars, one group per category, standing on the axis's low end."""
    chart = _Chart(title, y, [one.label for one in bars])
    slot = chart.width / len(categories)
    thick = slot * 0.8 / len(bars)
    every = math.ceil(max(map(chart.width_of, categories)) / slot)  # labels that would not fit
    for index, category in enumerate(categories):
        start = chart.left + slot * (index + 0.1)
        if index % every == 0:
            chart.text((start + slot * 0.4, chart.bottom + 6), category, anchor="ma")
        for place, (color, one) in enumerate(zip(COLORS, bars, strict=False)):
            top = chart.height_of(one.values[index])
            left = start + place * thick
            gap = min(1, thick / 4)
            chart.bar((left + gap, top, left + thick - gap, chart.bottom), color)
            if one.texts:
                chart.text((left + thick / 2, top - 2), one.texts[index], anchor="md", size=9)
    chart.text((chart.left + chart.width / 2, _SIZE[1] - 8), x_label, anchor="md")
    for guide in guides:
        chart.dashed(guide)
    return chart.finish()


def side_by_side(charts: Sequence[Image.Image]) -> Image.Image:
    """Charts of the same height in a row."""
    sheet = Image.new("RGB", (sum(chart.width for chart in charts), charts[0].height), "white")
    left = 0
    for chart in charts:
        sheet.paste(chart, (left, 0))
        left += chart.width
    return sheet


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface, so that a chart looks the same on every machine."""
    return ImageFont.load_default(size)


class _Chart:
    """A page with a title, a legend, a frame and the vertical axis; the rest is drawn into it."""

    def __init__(self, title: str, y: Axis, labels: Sequence[str]) -> None:
        self._y, self._zoom = y, SCALE * _SMOOTH
        size = (_SIZE[0] * self._zoom, _SIZE[1] * self._zoom)
        self._image = Image.new("RGB", size, "white")
        self._draw = ImageDraw.Draw(self._image)
        self.left, self.bottom = _LEFT, _SIZE[1] - _BOTTOM
        self.width = _SIZE[0] - _LEFT - _RIGHT
        self.text((_LEFT, 12), title, anchor="la", size=15)
        self._legend(labels)
        for tick in _ticks(y):
            at = self.height_of(tick)
            self._stroke([(self.left, at), (self.left + self.width, at)], _FAINT, 1)
            self.text((self.left - 6, at), _number(tick), anchor="rm")
        self._turned_text(y.label)

    def height_of(self, value: float) -> float:
        """Where a value of the vertical axis lies; what is beyond its ends lies on them."""
        share = (value - self._y.low) / (self._y.high - self._y.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - _TOP)

    def text(self, at: tuple[float, float], text: str, *, anchor: str, size: float = 11) -> None:
        """Words; ``anchor`` as Pillow has it ("ma": centred, below the point)."""
        self._draw.text(self._zoomed(at), text, _INK, font(size * self._zoom), anchor)

    def width_of(self, text: str) -> float:
        """How wide words are."""
        return self._draw.textlength(text, font(11 * self._zoom)) / self._zoom

    def vertical(self, at: float) -> None:
        """A faint line at a tick of the horizontal axis."""
        self._stroke([(at, _TOP), (at, self.bottom)], _FAINT, 1)

    def curve(self, points: Sequence[tuple[float, float]], color: str) -> None:
        self._stroke(points, color, 2)

    def dot(self, at: tuple[float, float], color: str) -> None:
        x, y = at
        box = [self._zoomed((x - 4, y - 4)), self._zoomed((x + 4, y + 4))]
        self._draw.ellipse(box, fill=color, outline="white", width=self._zoom)

    def bar(self, box: tuple[float, float, float, float], color: str) -> None:
        self._draw.rectangle([self._zoomed(box[:2]), self._zoomed(box[2:])], fill=color)

    def dashed(self, value: float) -> None:
        """A dashed line across, at a value of the vertical axis."""
        at = self.height_of(value)
        for start in range(int(self.left), int(self.left + self.width), 8):
            self._stroke([(start, at), (start + 4, at)], _INK, 1)

    def finish(self) -> Image.Image:
        """Frame the plot and bring the page down to its size."""
        corners = [(self.left, _TOP), (self.left, self.bottom)]
        self._stroke([*corners, (self.left + self.width, self.bottom)], _INK, 1)
        size = (_SIZE[0] * SCALE, _SIZE[1] * SCALE)
        return self._image.resize(size, Image.Resampling.LANCZOS)

    def _legend(self, labels: Sequence[str]) -> None:
        left = float(self.left)
        for color, label in zip(COLORS, labels, strict=False):
            self.bar((left, 42, left + 14, 52), color)
            self.text((left + 19, 47), label, anchor="lm")
            left += 19 + self.width_of(label) + 16

    def _turned_text(self, text: str) -> None:
        face = font(11 * self._zoom)
        size = (math.ceil(self._draw.textlength(text, face)), 20 * self._zoom)
        label = Image.new("RGB", size, "white")
        ImageDraw.Draw(label).text((0, 0), text, _INK, face)
        turned = label.rotate(90, expand=True)
        middle = round((_TOP + self.bottom) / 2 * self._zoom - turned.height / 2)
        self._image.paste(turned, (8 * self._zoom, middle))

    def _stroke(self, points: Sequence[tuple[float, float]], color: str, width: int) -> None:
        zoomed = [self._zoomed(point) for point in points]
        self._draw.line(zoomed, color, width * self._zoom, joint="curve")

    def _zoomed(self, at: Sequence[float]) -> tuple[float, float]:
        return at[0] * self._zoom, at[1] * self._zoom


def _ticks(axis: Axis) -> Sequence[float]:
    """About six round numbers within the axis's ends."""
    if axis.ticks is not None:
        return axis.ticks
    rough = (axis.high - axis.low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
    first = math.ceil(axis.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{round(value, 9):g}"
