"""A survey as a contact sheet and a page with pictures in it, which needs nothing else."""

import json
from collections.abc import Sequence
from html import escape

from PIL import Image

from training.pages import page, picture
from training.survey.look import Survey
from training.survey.words import sentences, to_json

_SIDE = 72  # pixels of a picture on a sheet
_COLUMNS = 16
_ROWS = 40  # classes that are shown
_GROUPS = 24  # of duplicates
_GAP = 4


def contact_sheet(found: Survey) -> Image.Image:
    """A row of pictures per class, from all over it; without classes, of all pictures."""
    rows: list[Sequence[int]] = []
    if found.classes:
        of_class: dict[int, list[int]] = {}
        for index, one in enumerate(found.seen):
            of_class.setdefault(one.label, []).append(index)
        rows = [_spread(of_class[label], _COLUMNS) for label in sorted(of_class)[:_ROWS]]
    else:
        some = _spread(range(len(found.seen)), _COLUMNS * 8)
        rows = [some[start : start + _COLUMNS] for start in range(0, len(some), _COLUMNS)]
    return _sheet(found, rows)


def to_page(name: str, found: Survey) -> str:
    """The page: sentences, sheet, duplicates, rejects and everything as JSON."""
    lines = "\n".join(sentences(found))
    order = (
        "Each row is a class: " + ", ".join(found.classes[:_ROWS])
        if found.classes
        else "From all over"
    )
    parts = [
        f"<h1>{escape(name)}</h1><pre>{escape(lines)}</pre>",
        f"<h2>Pictures</h2><p>{escape(order)}.</p>",
        picture(contact_sheet(found), "contact sheet"),
    ]
    for title, groups in (("The same", found.same), ("The same or nearly", found.nearly or ())):
        if groups:
            sheet = _sheet(found, [group[:_COLUMNS] for group in groups[:_GROUPS]])
            parts.append(f"<h2>{title}</h2><p>Each row is a group.</p>{picture(sheet, title)}")
    if found.rejected:
        rows = "".join(f"<tr><td>{escape(n)}<td>{escape(why)}" for n, why in found.rejected)
        parts.append(f"<h2>Rejected</h2><table>{rows}</table>")
    facts = escape(json.dumps(to_json(found), indent=1, ensure_ascii=False))
    parts.append(f"<details><summary>As JSON</summary><pre>{facts}</pre></details>")
    return page(name, "\n".join(parts))


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Up to so many of them, evenly from all over."""
    if len(indices) <= count:
        return list(indices)
    return [indices[place * len(indices) // count] for place in range(count)]


def _sheet(found: Survey, rows: Sequence[Sequence[int]]) -> Image.Image:
    columns = max(map(len, rows))
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (columns * step - _GAP, len(rows) * step - _GAP), "white")
    for top, row in enumerate(rows):
        for left, index in enumerate(row):
            image = found.picture(index).convert("RGB")
            scale = min(_SIDE / image.width, _SIDE / image.height)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            smooth = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
            sheet.paste(image.resize(size, smooth), (left * step, top * step))
    return sheet
