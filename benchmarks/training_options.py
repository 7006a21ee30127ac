"""Noise density, learned uncertainty and the EMA's length, compared at equal pictures.

    python -m benchmarks.training_options configs/mnist.toml=package/data --out runs/options

Every arm trains the same preset on the same pictures in the same order, for as many steps; then the
averages of several lengths are made from each arm's snapshots. Each is judged by `training
evaluate` on the same seeds. What is trained or judged already is not done again, so that a
comparison may be stopped and go on; it takes hours on two cores.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from models.checkpoint import latest_step, steps_of

ARMS = {
    "plain": [],
    "lognormal": ["train.noise_density=lognormal"],
    "lognormal-uncertainty": ["train.noise_density=lognormal", "train.uncertainty=true"],
}
LENGTHS = (0.03, 0.05, 0.1, 0.15)


def main() -> None:
    """Train, average and judge what is missing; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="+", metavar="CONFIG=DATA")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--lengths", type=float, nargs="*", default=LENGTHS, help="of the EMA")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(describe())
    for preset in arguments.presets:
        config, _, data = preset.partition("=")
        for arm in ARMS:
            compare(Path(config), data, arm, arguments)


def compare(config: Path, data: str, arm: str, arguments: argparse.Namespace) -> None:
    """One arm on one data set: a line for its own EMA and for each other length."""
    name, out = f"{config.stem}-{arm}", arguments.out
    if arguments.steps not in steps_of(out / name):
        options = [*ARMS[arm], f"train.snapshot_every={max(1, arguments.steps // 20)}"]
        resume = ["--resume"] if steps_of(out / name) else []
        given = ["--data", data, "--out", str(out), "--name", name, *resume]
        steps = ["--steps", str(arguments.steps)]
        sets = [word for option in options for word in ("--set", option)]
        training("train", str(config), *given, *steps, *sets)
    report(out / name, "its own EMA", data, arguments)
    for length in arguments.lengths:
        averaged = out / f"{name}-ema-{length:g}"
        if not steps_of(averaged):
            training("average", str(out / name), str(length))
        report(averaged, f"EMA of {length:g}", data, arguments)


def report(model: Path, what: str, data: str, arguments: argparse.Namespace) -> None:
    """Judge a model, unless it was, and say what was found."""
    kept = arguments.out / f"{model.name}-{latest_step(model)}-{arguments.images}.json"
    if not kept.is_file():
        metrics = ["--metrics", "distances", "agreement", "--images", str(arguments.images)]
        kept.write_text(training("evaluate", str(model), "--data", data, "--json", *metrics))
    found: dict[str, Any] = json.loads(kept.read_text())
    features = found["evaluation"]["features"]["classifier"]
    print(
        f"{model.name:<44} {what:<14} Fréchet {features['frechet']['drawn']:.3f} "
        f"({features['frechet_ratio']:.2f} x its floor), "
        f"agreement {found['class_agreement']['drawn']:.3f}",
        flush=True,
    )


def training(*words: str) -> str:
    """`python -m training WORDS`: its standard output."""
    command = [sys.executable, "-m", "training", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
