"""The look of charts: matplotlib figures without a window, or one line that says it is missing.

matplotlib is an extra of training, imported when something is drawn. What is drawn is the
caller's to know.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from training.errors import TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which people with any colour vision tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_PANEL_INCHES = (6.2, 4.0)
_MOST_LABELS = 9


def panels(count: int) -> "tuple[Figure, list[Axes]]":
    """A figure of ``count`` charts side by side.

    Raises:
        TrainingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError(
            "charts need matplotlib, which is not installed; `pip install matplotlib`, or ask for "
            "the table or --json alone"
        ) from error
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(count * width, height), layout="constrained", dpi=200)
    row = figure.subplots(1, count, squeeze=False)[0]
    for axes in row:
        axes.set_prop_cycle(color=COLORS)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, list(row)


def grouped_bars(axes: "Axes", categories: Sequence[str], groups: dict[str, list[float]]) -> None:
    """A bar per category and group, labelled; of many categories only some are named."""
    thick = 0.8 / len(groups)
    for place, (label, values) in enumerate(groups.items()):
        left = [index + (place - (len(groups) - 1) / 2) * thick for index in range(len(values))]
        axes.bar(left, values, width=0.92 * thick, label=label)
    every = -(-len(categories) // _MOST_LABELS)
    axes.set_xticks(range(0, len(categories), every), categories[::every], fontsize="small")
    axes.grid(visible=False, axis="x")


def to_image(figure: "Figure") -> Image.Image:
    """The drawn figure."""
    png = BytesIO()
    figure.savefig(png, format="png")
    return Image.open(png).convert("RGB")
