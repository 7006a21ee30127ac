"""`compare A B`: two runs side by side, as one page: curves, pictures, figures, what differs."""

import argparse
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from models.checkpoint import read_manifest, resolve
from models.manifest import Manifest
from training.card import headline, sources_in_words
from training.errors import TrainingError
from training.judging.history import quality_of
from training.metrics import METRICS, read_metrics
from training.pages import page, picture
from training.run.page import charts
from training.run.scalars import REPORTS


def add_parser(subparsers: Any) -> None:
    """Add `compare` to the command line; argparse has no public type for ``subparsers``."""
    parser = subparsers.add_parser("compare", help="two runs side by side, as a page")
    parser.add_argument("runs", nargs=2, type=Path, metavar="MODEL", help="a model's folder")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="the page to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """`compare A B`: write the page, and say in a line each what the runs reached."""
    runs = _named(arguments.runs)
    manifests = {name: read_manifest(resolve(folder)) for name, folder in runs.items()}
    lines = {name: read_metrics(folder) for name, folder in runs.items()}
    for name, folder in runs.items():
        if not lines[name]:
            raise TrainingError(
                f"{folder} has no {METRICS}: it was trained by an older version, or elsewhere"
            )
    titles = " and ".join(runs)
    reached = {name: _reached(folder, lines[name]) for name, folder in runs.items()}
    parts = [
        f"<h1>{escape(titles)}</h1>",
        _table({name: reached[name] for name in runs}),
        "<h2>Curves</h2>" + charts(lines),
        "<h2>Newest strips</h2>" + _strips(runs),
        "<h2>What differs</h2>" + _differences(manifests),
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page(titles, "\n".join(parts)), encoding="utf-8")
    for name, found in reached.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
    print(f"wrote {arguments.out}")


def _named(folders: list[Path]) -> dict[str, Path]:
    """The folders by their names; by their paths, where both are called the same."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < 2:
        names = [str(folder) for folder in folders]
    if len(set(names)) < 2:
        raise TrainingError(f"{folders[0]} is given twice; give two models' folders")
    return dict(zip(names, folders, strict=True))


def _reached(folder: Path, lines: list[dict[str, Any]]) -> dict[str, str]:
    """The last of each figure."""
    last: dict[str, Any] = {}
    for line in lines:
        last |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    found = {key.replace("_", " "): f"{value:.4g}" for key, value in last.items()}
    found["step"] = str(last["step"])
    quality = quality_of(folder, lines)
    if quality:
        newest = quality[max(quality)]
        found |= {key: f"{value:.4g}" for key, value in headline(newest).items()}
    return found


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """A column per run, a row per name that one of them has."""
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    head = "".join(f"<th>{escape(name)}" for name in rows)
    body = "".join(
        f"<tr><td>{escape(name)}" + "".join(f"<td>{escape(r.get(name, ''))}" for r in rows.values())
        for name in names
    )
    return f"<table><tr><th>{head}{body}</table>"


def _strips(runs: Mapping[str, Path]) -> str:
    cells = []
    for name, folder in runs.items():
        paths = sorted((folder / REPORTS).glob("*.png"))
        if not paths:
            cells.append(f"<p>{escape(name)} has none yet.</p>")
            continue
        with Image.open(paths[-1]) as image:
            shown = picture(image, f"strip of {name}")
        caption = f"{name}, step {int(paths[-1].stem)}"
        cells.append(f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")
    return f'<div class="pair">{"".join(cells)}</div>'


def _differences(manifests: Mapping[str, Manifest]) -> str:
    """Keys of the configuration, and facts of the data, that are not the same."""
    flat = {name: _flat(manifest) for name, manifest in manifests.items()}
    keys = sorted({key for one in flat.values() for key in one})
    differ = [key for key in keys if len({one.get(key, "") for one in flat.values()}) > 1]
    if not differ:
        return "<p>Nothing: the configuration and the data are the same.</p>"
    return _table({name: {key: one.get(key, "") for key in differ} for name, one in flat.items()})


def _flat(manifest: Manifest) -> dict[str, str]:
    training = manifest.training
    data = training.get("data", {})
    found = {f"data.{key}": str(data.get(key)) for key in ("pictures", "held_out", "sha256")}
    found["data.sources"] = sources_in_words(data.get("sources", ()))
    found["classes"] = str(len(manifest.classes))
    found["commit"] = str(training.get("git_commit"))
    found["begins from"] = ", ".join(one["model"] for one in training.get("lineage", []))
    for section, fields in training.get("config", {}).items():
        if isinstance(fields, Mapping):
            found |= {f"{section}.{key}": str(value) for key, value in fields.items()}
    return found
