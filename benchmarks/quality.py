"""The trilemma of one model: quality, coverage and speed over sampler, steps and guidance.

    python -m benchmarks.quality checkpoints/fashion-mnist --data PATH --results FILE.jsonl
        [--images 3000] [--dtype bf16] [--minutes 60] [--axis steps=2,4,8]... [--plot FILE.png]
        [--guide CHECKPOINT]

From the card's defaults each axis is walked alone, then steps with every sampler and with every
guidance, and guidance's scale with its interval, as far as the model can draw so; `--axis` names
values of its own (and, given, no other axis is walked). What stands in FILE.jsonl is not measured
again, so a long sweep may be done in pieces. Prints the table; a star marks what nothing beats at
as few evaluations or fewer. With a guide, a smaller or less trained model of the same classes,
guidance leads away from what that one draws instead of from what has no class (autoguidance,
Karras et al. 2024, arXiv:2406.02507).
"""

import argparse
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import describe, pick_device
from models import Model, load_model
from models.distilled import ALL_SAMPLERS
from models.manifest import Defaults, Manifest
from models.unet import UNet
from training.charts import panels, to_image
from training.errors import TrainingError
from training.judging.drawing import chosen_settings, settings_to_json
from training.judging.judge import Metric, appoint_judge
from training.pictures.data import load_alike
from training.pictures.source import SPLITS
from training.sheets import save_png

AXES: dict[str, tuple[Any, ...]] = {
    "steps": (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 250, 1000),
    "sampler": ALL_SAMPLERS,
    "guidance_scale": (0.0, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0),
    "guidance_interval": ((0.0, 1.0), (0.3, 0.9), (0.4, 0.85), (0.2, 0.8), (0.5, 1.0)),
}
GUIDANCE = {"guidance_scale", "guidance_interval"}
MOST_STEPS_OF_PAIRS = 50  # more cost hours: walked with the other defaults alone
METRICS: list[Metric] = ["distances", "agreement"]
SHARES = ("precision", "recall", "density", "coverage")
EXTRACTOR = "classifier"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Row = dict[str, Any]


def sweep(manifest: Manifest, axes: dict[str, tuple[Any, ...]]) -> list[Defaults]:
    """Every setting to measure, the fewest steps first; each once."""
    longest = manifest.diffusion.timesteps
    walks: list[tuple[str, ...]] = [(axis,) for axis in axes]
    walks += [
        pair for pair in itertools.combinations(axes, 2) if "steps" in pair or set(pair) == GUIDANCE
    ]
    found = [manifest.defaults]
    for walk in walks:
        for values in itertools.product(*(axes[axis] for axis in walk)):
            changes = dict(zip(walk, values, strict=True))
            if len(walk) > 1 and changes.get("steps", 0) > MOST_STEPS_OF_PAIRS:
                continue
            changes["steps"] = min(changes.get("steps", manifest.defaults.steps), longest)
            with suppress(TrainingError):  # what the model cannot do is no setting of its
                found.append(chosen_settings(manifest, **changes))
    return sorted(dict.fromkeys(found), key=lambda settings: settings.steps)


class Autoguided(UNet):
    """A network that answers for "no class", in a pair, what its guide answers for the class."""

    def __init__(self, network: UNet, guide: UNet) -> None:
        nn.Module.__init__(self)
        self.config, self.network, self.guide = network.config, network, guide

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Of a guided batch the first half is the guide's, the rest the network's own."""
        null = self.config.null_class
        if condition is not None and null is not None:
            rows = len(x_t) // 2
            without, labels = condition[:rows], condition[rows:]
            if without.eq(null).all() and labels.ne(null).all():
                worse = self.guide(x_t[:rows], t[:rows], labels)
                return torch.cat([worse, self.network(x_t[rows:], t[rows:], labels)])
        predicted: Tensor = self.network(x_t, t, condition)
        return predicted


def with_guide(model: Model, guide: Model) -> Model:
    """The same model, led away from the other's pictures.

    Raises:
        TrainingError: they have not the same classes.
    """
    ours, theirs = model.manifest, guide.manifest
    if not ours.classes or ours.classes != theirs.classes:
        raise TrainingError(f"{theirs.version} has not the classes of {ours.version}")
    return dataclasses.replace(model, network=Autoguided(model.network, guide.network))


def measure(arguments: argparse.Namespace, rows: list[Row]) -> Iterator[Row]:
    """Measure what ``rows`` lack, until the time is up."""
    device = pick_device()
    model = load_model(arguments.checkpoint, device=device, dtype=DTYPES[arguments.dtype])
    axes = {axis: tuple(values) for axis, values in arguments.axis} or AXES
    same = shared(arguments, model.manifest)
    if arguments.guide:
        guide = load_model(arguments.guide, device=device, dtype=DTYPES[arguments.dtype])
        model = with_guide(model, guide)
    known = [row["settings"] for row in of_table(rows, same)]
    wanted = [
        settings
        for settings in sweep(model.manifest, axes)
        if settings_to_json(settings) not in known
    ]
    if not wanted:
        return
    train, test = (load_alike(arguments.data, model.manifest, split=split) for split in SPLITS)
    judge = appoint_judge(
        train,
        test,
        images=arguments.images,
        by_class=bool(model.manifest.classes),
        metrics=METRICS if train.classes else METRICS[:1],
        extractors=[EXTRACTOR] if train.classes else ["efficientnet"],
        device=device,
        say=lambda _text: None,
    )
    end = time.monotonic() + 60 * arguments.minutes
    for index, settings in enumerate(wanted):
        if time.monotonic() > end:
            print(f"{len(wanted) - index} settings are left; run it again", flush=True)
            return
        found = judge.measure(model, settings)
        one = next(iter(found.features.values()))
        yield {
            **same,
            "machine": describe(),
            "settings": settings_to_json(settings),
            "evaluations": found.drawn.evaluations,
            "images_per_second": found.drawn.images_per_second,
            "frechet_ratio": one.frechet_ratio,
            "agreement": found.agreement.drawn if found.agreement else None,
            **one.to_json(),
        }


def shared(arguments: argparse.Namespace, manifest: Manifest) -> Row:
    """What rows of one table have alike."""
    guide = str(arguments.guide) if arguments.guide else None
    same = {"images": arguments.images, "dtype": arguments.dtype, "guide": guide}
    return {"model": manifest.version, **same}


def of_table(rows: list[Row], same: Row) -> list[Row]:
    """The rows of that table."""
    return [row for row in rows if all(row.get(key) == value for key, value in same.items())]


def front(rows: list[Row]) -> list[Row]:
    """Rows that no row beats in Fréchet distance with as few evaluations or fewer."""
    return [
        row
        for row in rows
        if not any(
            other["evaluations"] <= row["evaluations"]
            and other["frechet_ratio"] < row["frechet_ratio"]
            for other in rows
        )
    ]


def table(rows: list[Row], defaults: Defaults) -> Iterator[str]:
    """Markdown, by evaluations."""
    best = front(rows)
    figures = ("evaluations", "pictures/s", "Fréchet / floor", *SHARES, "agreement")
    yield f"| {' | '.join([*AXES, *figures])} |".replace("_", " ")
    yield "|---" * (len(AXES) + len(figures)) + "|"
    for row in sorted(rows, key=lambda row: (row["evaluations"], row["frechet_ratio"])):
        settings = row["settings"]
        cells = [str(settings[axis]) for axis in AXES]
        if settings == settings_to_json(defaults):
            cells[0] += " (default)"
        cells += [str(row["evaluations"]), f"{row['images_per_second']:.1f}"]
        star = "\\* " if row in best else ""
        cells.append(f"{star}{row['frechet_ratio']:.2f}")
        cells += [f"{row[name]['drawn']:.3f}" for name in SHARES]
        cells.append("" if row["agreement"] is None else f"{row['agreement']:.3f}")
        yield f"| {' | '.join(cells)} |"


def plot(rows: list[Row], defaults: Defaults, path: Path) -> None:
    """Quality over evaluations by sampler, what guidance does, and coverage over quality."""
    figure, (quality, guidance, trade) = panels(3)
    usual = settings_to_json(defaults)

    def along(axis: str, **others: object) -> list[Row]:
        fixed = {**usual, **others}
        del fixed[axis]
        some = [row for row in rows if fixed.items() <= row["settings"].items()]
        return sorted(some, key=lambda row: row["settings"][axis])

    for sampler in AXES["sampler"]:
        some = along("steps", sampler=sampler)
        if len(some) > 1:
            quality.loglog(
                [row["evaluations"] for row in some],
                [row["frechet_ratio"] for row in some],
                "o-",
                label=sampler,
            )
    quality.axhline(1, color="#555555", linestyle="--", linewidth=1)
    quality.set_xlabel("evaluations of the network, a picture")
    quality.set_ylabel("Fréchet distance / floor")
    quality.legend(frameon=False)

    guided = [row["settings"]["steps"] for row in rows if row["settings"]["guidance_scale"] > 1]
    steps = max(guided, default=defaults.steps)
    intervals = {tuple(row["settings"]["guidance_interval"]) for row in rows}
    for start, stop in sorted(intervals):
        some = along("guidance_scale", steps=steps, guidance_interval=[start, stop])
        if len(some) > 1:
            guidance.plot(
                [row["settings"]["guidance_scale"] for row in some],
                [row["frechet_ratio"] for row in some],
                "o-",
                label=f"in {start:g} to {stop:g} of the run",
            )
    guidance.set_xlabel(f"guidance scale, {defaults.sampler}, {steps} steps")
    guidance.set_ylabel("Fréchet distance / floor")
    guidance.legend(frameon=False)

    shown = trade.scatter(
        [row["frechet_ratio"] for row in rows],
        [row["coverage"]["drawn"] / row["coverage"]["real"] for row in rows],
        c=[row["evaluations"] for row in rows],
        norm="log",
        cmap="viridis",
    )
    trade.set_xscale("log")
    trade.set_xlabel("Fréchet distance / floor")
    trade.set_ylabel("coverage / real")
    bar = figure.colorbar(shown, ax=trade, label="evaluations, a picture")
    for axis in (quality.xaxis, quality.yaxis, trade.xaxis, bar.ax.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    save_png(to_image(figure), path)


def axis_values(text: str) -> tuple[str, list[Any]]:
    """``steps=2,4`` as a name and values of its kind."""
    name, _, values = text.partition("=")
    if name not in AXES or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(AXES)} =VALUE,...")
    if isinstance(AXES[name][0], str):
        return name, values.split(",")
    try:
        numbers = json.loads(f"[{values}]")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} has a value that is no number") from error
    return name, [tuple(value) if isinstance(value, list) else value for value in numbers]


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--axis", action="append", type=axis_values, default=[])
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--guide", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    if arguments.results.exists():
        rows = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    with arguments.results.open("a") as results:
        for row in measure(arguments, rows):
            rows.append(row)
            print(json.dumps(row), file=results, flush=True)
            print(
                f"{row['settings']}: {row['frechet_ratio']:.2f} times the floor, "
                f"{row['images_per_second']:.1f} pictures/s",
                flush=True,
            )
    manifest = load_model(arguments.checkpoint).manifest
    rows = of_table(rows, shared(arguments, manifest))
    floor = " or ".join(sorted({f"{row['frechet']['real']:g}" for row in rows}))
    print(f"\n{manifest.version}, {arguments.images} pictures, floor {floor}; {describe()}\n")
    print("\n".join(table(rows, manifest.defaults)))
    if arguments.plot:
        plot(rows, manifest.defaults, arguments.plot)


if __name__ == "__main__":
    main()
