"""An evaluation as one page that needs nothing else: pictures, neighbours, curves, figures.

Pictures and charts stand in the page as data. Charts need matplotlib.
"""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from models.manifest import Manifest
from training.charts import grouped_bars, panels, to_image
from training.judging.classifier import to_pixels
from training.judging.figures import figures, heading
from training.judging.results import Evaluation
from training.pictures.data import Pictures
from training.sheets import grid

_SHOWN = 100  # drawn pictures
_NEIGHBOURS = 12  # of those nearest to a training picture
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .1rem .8rem; text-align: right }
td:first-child, td:last-child, th:first-child { text-align: left }
tr.part td { font-weight: 600; padding-top: .8rem }
img { max-width: 100%; image-rendering: pixelated } img.chart { image-rendering: auto }
p.note { color: #555 }
"""


def write_report(
    path: Path,
    manifest: Manifest,
    found: Evaluation,
    *,
    train: Pictures,
    test: Pictures,
    chosen: npt.NDArray[np.int64],
) -> None:
    """Write the page, creating its folder; ``chosen`` are the unseen pictures that were used."""
    parts = [
        f"<h1>{escape(manifest.version)}</h1><p>{escape(heading(found))}</p>",
        _figures(found),
        "<h2>Drawn</h2>" + _picture(_first(found), "drawn pictures, one row per class where few"),
        "<h2>Real, unseen</h2>"
        + _picture(_sheet(torch.tensor(test.images[chosen[:_SHOWN]]), columns=20), "real pictures"),
    ]
    if found.nearest is not None:
        parts.append(_neighbours(found, train))
    if found.agreement is not None or found.nearest is not None:
        parts.append(_charts(found))
    body = "\n".join(parts)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(manifest.version)}'
        f"</title><style>{_STYLE}</style>\n{body}</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _figures(found: Evaluation) -> str:
    rows = [
        f"<tr{'' if drawn else ' class=part'}><td>{escape(name)}<td>{drawn}<td>{real}"
        f"<td>{escape(remark)}"
        for name, drawn, real, remark in figures(found)
    ]
    return "<table><tr><th><th>drawn<th>real<th>" + "".join(rows) + "</table>"


def _first(found: Evaluation) -> Image.Image:
    """The first drawn pictures; by class, a row each, where there are few classes."""
    images, labels = found.drawn.images, found.drawn.labels
    if labels is None or int(labels.max()) >= 20:
        return _sheet(images[:_SHOWN], columns=20)
    rows = [images[labels == label][:20] for label in range(int(labels.max()) + 1)]
    fewest = min(len(row) for row in rows)
    if not fewest:
        return _sheet(images[:_SHOWN], columns=20)
    return _sheet(torch.cat([row[:fewest] for row in rows]), columns=fewest)


def _neighbours(found: Evaluation, train: Pictures) -> str:
    assert found.nearest is not None
    drawn = found.nearest[0]
    order = drawn.levels[:, 0].argsort()[:_NEIGHBOURS]
    rows = torch.cat(
        [
            torch.cat([found.drawn.images[i : i + 1], _real(train, drawn.indices[i])])
            for i in order.tolist()
        ]
    )
    nearest = ", ".join(f"{level:.1f}" for level in drawn.levels[order, 0].tolist())
    return (
        "<h2>Nearest training pictures</h2><p>The drawn pictures that come nearest to a training "
        "picture, each followed by its nearest training pictures. Root mean square difference to "
        f"the first, in grey levels: {nearest}.</p>"
        + _picture(
            _sheet(rows, columns=2 * (1 + drawn.indices.shape[1])), "drawn beside training pictures"
        )
    )


def _real(train: Pictures, indices: Tensor) -> Tensor:
    return torch.tensor(train.images[indices.numpy()])


def _charts(found: Evaluation) -> str:
    wanted = (found.nearest is not None) + (found.agreement is not None)
    figure, axes = panels(wanted)
    if found.nearest is not None:
        curve = axes.pop(0)
        for name, nearest in zip(("drawn", "real, unseen"), found.nearest, strict=True):
            levels = nearest.levels[:, 0].sort().values.numpy()
            curve.plot(levels, np.arange(1, len(levels) + 1) / len(levels), label=name)
        curve.set_xlabel("difference from the nearest training picture, grey levels")
        curve.set_ylabel("share that is nearer")
        curve.legend(frameon=False)
    if found.agreement is not None:
        bars = axes.pop(0)
        grouped_bars(
            bars, list(found.agreement.per_class), {"": list(found.agreement.per_class.values())}
        )
        bars.tick_params(axis="x", rotation=30)
        bars.set_ylabel("class agreement")
        bars.axhline(found.agreement.real, color="#555555", linestyle="--", linewidth=1)
    return "<h2>Curves</h2>" + _picture(to_image(figure), "curves", chart=True)


def _sheet(images: Tensor, *, columns: int) -> Image.Image:
    scale = max(1, 56 // images.shape[-1])
    return grid(to_pixels(images), columns=min(columns, len(images)), scale=scale)


def _picture(image: Image.Image, alt: str, *, chart: bool = False) -> str:
    png = io.BytesIO()
    image.save(png, "PNG")
    data = base64.b64encode(png.getvalue()).decode()
    kind = ' class="chart"' if chart else ""
    return f'<img{kind} alt="{escape(alt)}" src="data:image/png;base64,{data}">'
