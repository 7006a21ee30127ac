"""Strips and drawn pictures, as parts of a run's page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from training.pages import picture
from training.run.scalars import REPORTS

_EARLIER = 6  # strips of which the last column is shown


@dataclass(frozen=True)
class Strip:
    """A denoising strip.

    Attributes:
        path: its file.
        rows: what each row was told.
        columns: each column's step.
        gap: pixels between two of them.
    """

    path: Path
    rows: Sequence[str]
    columns: Sequence[str]
    gap: int


def strip_table(strip: Strip) -> str:
    """The newest strip with what each row was told, and its legend."""
    with Image.open(strip.path) as opened:
        image = opened.convert("RGB")
    height = (image.height + strip.gap) // len(strip.rows)
    cells = "".join(
        f"<tr><td>{escape(name)}<td>"
        + picture(
            image.crop((0, index * height, image.width, (index + 1) * height - strip.gap)),
            name or "row",
        )
        for index, name in enumerate(strip.rows)
    )
    steps = "".join(f"<span>{escape(name)}</span>" for name in strip.columns)
    style = (
        f"display:grid;grid-template-columns:repeat({len(strip.columns)},1fr);"
        f"width:{image.width}px;font-size:12px"
    )
    return (
        f'<table><tr><td><td><div style="{style}">{steps}</div>{cells}</table>'
        f'<p class="note">From one fixed noise to the picture, {escape(strip.path.stem)}: each '
        "column is the picture after so many steps of the sampler.</p>"
    )


def earlier(folder: Path, strip: Strip) -> str:
    """What was drawn from the same noise at earlier reports."""
    paths = sorted((folder / REPORTS).glob("*.png"))
    paths = [path for path in paths if path.stem < strip.path.stem]
    if not paths:
        return ""
    chosen = {paths[i] for i in np.linspace(0, len(paths) - 1, _EARLIER).astype(int)}
    rows = "".join(
        f"<tr><td>{int(path.stem)}<td>{picture(_last_column(path, strip), 'drawn')}"
        for path in sorted(chosen | {strip.path})
    )
    return f"<h2>The same noise, at earlier steps</h2><table>{rows}</table>"


def _last_column(path: Path, strip: Strip) -> Image.Image:
    """The last frame of each row of a strip, side by side."""
    gap = strip.gap
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width = (image.width + gap) // len(strip.columns)
    height = (image.height + gap) // len(strip.rows)
    sheet = Image.new("RGB", (width * len(strip.rows) - gap, height - gap), "white")
    left = image.width - (width - gap)
    for index in range(len(strip.rows)):
        frame = image.crop((left, index * height, image.width, (index + 1) * height - gap))
        sheet.paste(frame, (index * width, 0))
    return sheet


def neighbours(nearest: Tensor | None) -> str:
    """Drawn pictures above their nearest training pictures."""
    if nearest is None:
        return ""
    pixels = nearest.permute(0, 1, 3, 4, 2).numpy()
    rows, columns, height, width, channels = pixels.shape
    sheet = np.full((columns * (height + 2), rows * (width + 2), channels), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = column * (height + 2), row * (width + 2)
            sheet[top : top + height, left : left + width] = pixels[row, column]
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    image = image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)
    return (
        "<h2>Nearest training pictures</h2><p>Above, what was drawn; below each, the training "
        "pictures that are nearest in pixels. A network that copies draws what stands below.</p>"
        + picture(image, "drawn pictures above their nearest training pictures")
    )
