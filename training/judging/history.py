"""What `evaluate` and the gate found of a run's checkpoints, over time, and where it is kept.

Figures stand in each checkpoint's manifest, and in `metrics.jsonl` for when the checkpoint is gone.
The run's page shows them in a section that is replaced whenever there are new ones.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from models.checkpoint import read_manifest, steps_of, write_manifest
from models.manifest import CheckpointError, step_name
from training import metrics
from training.card import headline
from training.plots import line_chart

REPORT = "report.html"
_BEGIN, _END = '<section id="evaluation">', "</section>"


def note(folder: Path, fresh: Mapping[str, Any]) -> None:
    """Keep what was found of a checkpoint, beside what is there: in its manifest and its run's."""
    manifest = read_manifest(folder)  # measuring takes long, and others note what they find, too
    quality = {**manifest.quality, **fresh}
    write_manifest(folder, dataclasses.replace(manifest, quality=quality))
    run = folder.parent
    if not (run / metrics.METRICS).is_file():
        return
    metrics.append(run, {"step": manifest.step, "quality": quality})
    page = run / REPORT
    if page.is_file():
        before = page.read_text(encoding="utf-8")
        whole = re.compile(f"{re.escape(_BEGIN)}.*?{_END}", re.DOTALL)
        write_whole(page, whole.sub(lambda _: section(run), before))


def write_whole(page: Path, text: str) -> None:
    """Replace a page whole, for whoever reads it meanwhile."""
    fresh = page.with_name(f".{page.name}.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(page)


def section(folder: Path) -> str:
    """The page's section: a chart of each figure where there are several, and a table."""
    found = quality_of(folder, metrics.read_metrics(folder))
    rows = {step: headline(one) for step, one in found.items()}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        return (
            f'{_BEGIN}<h2>Evaluation</h2><p class="note">None yet: python -m training evaluate '
            f"MODEL --data PATH notes its figures, and they come here.</p>{_END}"
        )
    lines = {n: [(float(step), row[n]) for step, row in rows.items() if n in row] for n in names}
    charts = "\n".join(line_chart(n, {"": line}) for n, line in lines.items() if len(line) > 1)
    head = "".join(f"<th>{escape(name)}" for name in names)
    body = "".join(
        f"<tr><td>{step}" + "".join(f"<td>{row[n]:.4g}" if n in row else "<td>" for n in names)
        for step, row in rows.items()
    )
    table = f"<table><tr><th>step{head}{body}</table>"
    return f"{_BEGIN}<h2>Evaluation</h2>{charts}{table}{_END}"


def quality_of(folder: Path, lines: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """What `evaluate` found, by step: of checkpoints that are there, and as the run noted it."""
    found = {one["step"]: one["quality"] for one in lines if isinstance(one.get("quality"), dict)}
    for step in steps_of(folder):
        try:
            quality = read_manifest(folder / step_name(step)).quality
        except CheckpointError:
            continue
        if quality:
            found[step] = quality
    return dict(sorted(found.items()))
