"""A run as a page that needs nothing else, `report.html`: curves, strips, data, configuration.

Everything but the newest strip is read from the model's folder, so a page can be made again.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from models.manifest import Manifest
from training.card import change_in_words, sources_in_words
from training.judging.history import REPORT, section, write_whole
from training.metrics import curve, read_metrics
from training.pages import page
from training.pictures.data import Pictures
from training.plots import Line, line_chart
from training.run.strips import Strip, earlier, neighbours, strip_table

_REJECTS = 50  # that are named
_CLASSES = 200  # in the data sheet


def write_page(
    folder: Path,
    manifest: Manifest,
    data: Pictures,
    *,
    strip: Strip,
    nearest: Tensor | None,
    warning: str,
) -> Path:
    """Write `report.html` into a model's folder; it replaces the last one whole.

    Args:
        manifest: what a checkpoint would say now.
        nearest: (B, 1 + K, C, H, W) uint8, drawn pictures with their nearest training pictures.
        warning: what a person should look at, in words.
    """
    lines = read_metrics(folder)
    parts = [
        f"<h1>{escape(manifest.version)}</h1>",
        f"<p>{escape(_heading(manifest, data, lines))}</p>",
        f'<p class="warning">{escape(warning)}</p>' if warning else "",
        "<h2>Curves</h2>" + charts({"": lines}),
        "<h2>Strip</h2>" + strip_table(strip),
        earlier(folder, strip),
        neighbours(nearest),
        section(folder),
        "<h2>Data</h2>" + _data(manifest, data),
        "<h2>Lineage</h2>" + _lineage(manifest),
        f"<h2>Configuration</h2><pre>{escape(_configuration(folder, manifest))}</pre>",
    ]
    path = folder / REPORT
    write_whole(path, page(manifest.version, "\n".join(parts)))
    return path


def charts(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The curves of one run's lines, or of several by name."""

    def lines(*keys: str, called: str = "") -> dict[str, Line]:
        return {" ".join(filter(None, (n, called))): curve(run, *keys) for n, run in runs.items()}

    def both(*kinds: tuple[str, str]) -> dict[str, Line]:
        return {
            name: line
            for key, called in kinds
            for name, line in lines("held_out", key, called=called).items()
        }

    drawn = [
        line_chart("loss", lines("loss"), logarithmic=_positive(runs)),
        line_chart(
            "loss of the averaged weights", both(("seen", "training"), ("unseen", "held out"))
        ),
        line_chart("loss by noise level, at the last report", by_level(runs), x="timestep, share"),
        line_chart("learning rate", lines("learning_rate")),
        line_chart("pictures per second", lines("pictures_per_second")),
        line_chart("gradient norm", lines("gradient_norm"), logarithmic=True),
    ]
    return "\n".join(drawn)


def by_level(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Line]:
    """The errors of the last report, from least noise to most, of both kinds of pictures."""
    found: dict[str, Line] = {}
    for name, lines in runs.items():
        last = next((one["held_out"] for one in reversed(lines) if "held_out" in one), None)
        for key, called in (("seen_levels", "training"), ("unseen_levels", "held out")):
            values = last.get(key, ()) if last else ()
            if values:
                share = [(index + 0.5) / len(values) for index in range(len(values))]
                found[" ".join(filter(None, (name, called)))] = list(
                    zip(share, values, strict=True)
                )
    return found


def _positive(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    return all(value > 0 for lines in runs.values() for _, value in curve(lines, "loss"))


def _heading(manifest: Manifest, data: Pictures, lines: Sequence[Mapping[str, Any]]) -> str:
    loss = curve(lines, "loss")
    channels, height, width = manifest.picture_shape
    told = f"{len(data.classes)} classes" if data.classes else "no classes"
    if data.captions:
        told = f"{len(data.captions)} captions"
    now = f"; loss {loss[-1][1]:.4f}" if loss else ""
    return (
        f"{len(data)} pictures of {width}x{height} pixels in {channels} channels, {told}; "
        f"step {manifest.step}, {manifest.training.get('pictures_seen', 0)} pictures seen{now}"
    )


def _data(manifest: Manifest, data: Pictures) -> str:
    noted = manifest.training.get("data", {})
    held_out = [f"{data.held_out:.0%} by hash"] if data.held_out else []
    held_out += ["the data's own split"] if data.own_split else []
    rows = [
        ("from", sources_in_words(noted.get("sources", ()))),
        ("pictures trained on", str(len(data))),
        ("held out", " and ".join(held_out) or "none"),
        ("files left out", str(data.unreadable)),
        ("made to fit by", str(noted.get("resize"))),
        ("sha256 of pixels and labels", data.fingerprint),
    ]
    if data.classes:
        counts = np.bincount(data.labels, minlength=len(data.classes))
        rows += [
            (f"class {name}", str(count))
            for name, count in list(zip(data.classes, counts.tolist(), strict=True))[:_CLASSES]
        ]
    table = "".join(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in rows if value)
    return f"<table>{table}</table>{_rejects(data)}"


def _rejects(data: Pictures) -> str:
    if data.rejects is None:
        return ""
    try:
        lines = data.rejects.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    shown = "\n".join(lines[:_REJECTS])
    more = f"\nand {len(lines) - _REJECTS} others" if len(lines) > _REJECTS else ""
    return f"<h3>Left out</h3><pre>{escape(shown + more)}</pre>"


def _lineage(manifest: Manifest) -> str:
    parents = manifest.training.get("lineage", [])
    lines = [
        f"{one['model']} (weights {one['sha256'][:12]}, {one['pictures']} pictures, "
        f"{one['classes']} classes)"
        for one in parents
    ]
    lines += [
        f"after step {change['step']}: {change_in_words(change)}"
        for change in manifest.training.get("data", {}).get("changes", [])
    ]
    if not lines:
        return "<p>Began at random.</p>"
    return "<ol>" + "".join(f"<li>{escape(line)}" for line in lines) + "</ol>"


def _configuration(folder: Path, manifest: Manifest) -> str:
    """As the file beside the run says it, else as the manifest does."""
    try:
        return (folder / f"{manifest.name}.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return json.dumps(manifest.training.get("config", {}), indent=1, ensure_ascii=False)
