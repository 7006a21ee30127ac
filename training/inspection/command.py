"""`python -m training inspect schedule|forward|network|error`: the command line of this package."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import Model, load_model
from models.schedule import SCHEDULES, Schedule
from training.devices import pick_device
from training.errors import TrainingError
from training.inspection import networks, noising, prediction_error, schedules
from training.inspection.synthetic import synthetic_pictures
from training.pictures.data import load_alike
from training.sheets import save_png

_SIZE = (64, 64)  # of synthetic pictures, where no model says another


def add_parser(subparsers: Any) -> None:
    """Add `inspect` to the command line; argparse has no public type for ``subparsers``."""
    inspect = subparsers.add_parser("inspect", help="look at schedules, noising, networks, errors")
    kinds = inspect.add_subparsers(required=True, metavar="WHAT")

    schedule = kinds.add_parser("schedule", help="all noise schedules side by side")
    schedule.add_argument("--timesteps", type=int, default=1000, help="T; default: 1000")
    _finish(schedule, inspect_schedule)

    forward = kinds.add_parser("forward", help="the noising of one picture")
    forward.add_argument("picture", type=Path, nargs="?", help="a file; default: a synthetic one")
    forward.add_argument("--frames", type=int, default=7, help="default: 7")
    _add_schedule(forward, timesteps=1000)
    _finish(forward, inspect_forward)

    network = kinds.add_parser("network", help="one or two networks level by level")
    network.add_argument("a", type=Path, help="a configuration (TOML), a model or a checkpoint")
    network.add_argument("b", type=Path, nargs="?", help="another, side by side")
    network.add_argument(
        "--classes", type=int, help="where a configuration does not name them (default: as named)"
    )
    _finish(network, inspect_network)

    error = kinds.add_parser("error", help="noise-prediction error per timestep bin")
    error.add_argument("model", type=Path, nargs="?", help="default: only the three yardsticks")
    error.add_argument("--data", type=Path, help="test pictures instead of synthetic ones")
    error.add_argument("--images", type=int, default=50, help="default: 50")
    error.add_argument("--bins", type=int, default=4, help="default: 4")
    error.add_argument("--draws", type=int, default=4, help="per picture and bin; default: 4")
    error.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    _add_schedule(error, timesteps=200)
    _finish(error, inspect_error)


def _add_schedule(parser: argparse.ArgumentParser, *, timesteps: int) -> None:
    parser.add_argument("--schedule", choices=SCHEDULES, help="default: the model's, else linear")
    parser.add_argument("--timesteps", type=int, help=f"T; default: the model's, else {timesteps}")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(default_timesteps=timesteps)


def _finish(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--out", type=Path, help="also draw it, as a PNG")
    parser.set_defaults(run=run)


def inspect_schedule(arguments: argparse.Namespace) -> None:
    """`inspect schedule`: every schedule's signal and SNR."""
    try:
        found = schedules.inspect_schedules(arguments.timesteps)
    except ValueError as error:
        raise TrainingError(f"--timesteps {arguments.timesteps}: {error}") from error
    _answer(
        arguments,
        table=lambda: schedules.to_table(found),
        data=lambda: schedules.to_json(found),
        plot=lambda: schedules.to_plot(found),
    )


def inspect_forward(arguments: argparse.Namespace) -> None:
    """`inspect forward`: one picture from t = 0 to T - 1."""
    schedule = _schedule(arguments, None)
    _check_seed(arguments.seed)
    if arguments.picture is None:
        picture = synthetic_pictures(1, channels=3, size=_SIZE, seed=arguments.seed)
    else:
        picture = noising.read_picture(arguments.picture)
    frames = noising.noise_picture(picture, schedule, frames=arguments.frames, seed=arguments.seed)
    title = f"{schedule.name} schedule, T = {schedule.timesteps}"
    _answer(
        arguments,
        table=lambda: f"{title}\n{noising.to_table(frames)}",
        data=lambda: noising.to_json(schedule.name, schedule.timesteps, frames),
        plot=lambda: noising.to_strip(title, frames),
    )


def inspect_network(arguments: argparse.Namespace) -> None:
    """`inspect network A [B]`: networks level by level."""
    if arguments.classes is not None and arguments.classes < 0:
        raise TrainingError(f"--classes {arguments.classes} is negative")
    found = []
    for path in (arguments.a, arguments.b):
        if path is None:
            continue
        name, config = networks.read_network(path, classes=arguments.classes)
        if path.is_file() and arguments.classes is None and config.num_class_embeds is None:
            print(f"note: {path} names no classes; add them with --classes N", file=sys.stderr)
        found.append(networks.inspect_network(name, config))
    _answer(
        arguments,
        table=lambda: networks.to_table(found),
        data=lambda: networks.to_json(found),
        plot=lambda: networks.to_plot(found),
    )


def inspect_error(arguments: argparse.Namespace) -> None:
    """`inspect error [MODEL]`: the error of noise prediction per timestep bin."""
    if arguments.images < 1:
        raise TrainingError(f"--images {arguments.images} is not at least 1")
    _check_seed(arguments.seed)
    model = None
    if arguments.model is not None:
        model = load_model(arguments.model, device=pick_device(arguments.device))
        if model.manifest.latent is not None or model.manifest.text is not None:
            raise TrainingError(
                f"{model.manifest.version} works with latents or texts, whose errors are not those "
                "of pictures; give a model of pixels, drawn by class or without one"
            )
    schedule = _schedule(arguments, model)
    pictures, labels = _pictures(arguments, model)
    predictors = prediction_error.yardsticks(arguments.seed)
    if model is not None:
        own = prediction_error.network_predictor(model, labels)
        predictors = {"model": own, **predictors}
    bins = prediction_error.measure_errors(
        pictures,
        schedule,
        predictors,
        bins=arguments.bins,
        draws=arguments.draws,
        seed=arguments.seed,
    )
    facts = {
        "model": None if model is None else model.manifest.version,
        "schedule": schedule.name,
        "timesteps": schedule.timesteps,
        "pictures": len(pictures),
        "draws": arguments.draws,
        "data": "synthetic" if arguments.data is None else arguments.data.name,
    }
    title = (
        f"{facts['pictures']} {facts['data']} pictures, {schedule.name}, T = {schedule.timesteps}"
    )
    if model is not None:
        title = f"{facts['model']}: {title}"
    _answer(
        arguments,
        table=lambda: f"{title}\n{prediction_error.to_table(bins)}",
        data=lambda: prediction_error.to_json(bins, facts),
        plot=lambda: prediction_error.to_plot(title, bins),
    )


def _pictures(arguments: argparse.Namespace, model: Model | None) -> tuple[Tensor, Tensor | None]:
    """The pictures to noise, and their classes where the model needs or can use them."""
    if model is None:
        if arguments.data is not None:
            raise TrainingError("--data needs a MODEL, whose size and channels it is read at")
        return synthetic_pictures(
            arguments.images, channels=3, size=_SIZE, seed=arguments.seed
        ), None
    network, random = model.manifest.network, np.random.default_rng(arguments.seed)
    if arguments.data is None:
        pictures = synthetic_pictures(
            arguments.images, channels=network.channels, size=network.size, seed=arguments.seed
        )
        if network.num_class_embeds is None or network.null_class is not None:
            return pictures, None
        return pictures, torch.from_numpy(
            random.integers(network.num_class_embeds, size=len(pictures))
        )
    data = load_alike(arguments.data, model.manifest, split="test")
    chosen = random.permutation(len(data))[: arguments.images]
    pictures = torch.from_numpy(data.images[chosen]).float() / 127.5 - 1
    if network.num_class_embeds is None or (network.null_class is not None and not data.classes):
        return pictures, None
    if not data.classes:
        raise TrainingError(
            f"{model.manifest.version} needs each picture's class, and {arguments.data} has none; "
            "put the pictures into class folders"
        )
    return pictures, torch.from_numpy(data.labels[chosen])


def _schedule(arguments: argparse.Namespace, model: Model | None) -> Schedule:
    """The model's schedule, which the command line cannot change; else what it says."""
    name, timesteps = arguments.schedule, arguments.timesteps
    if model is not None:
        own = model.manifest.diffusion.build_schedule()
        if name not in (None, own.name) or timesteps not in (None, own.timesteps):
            raise TrainingError(
                f"{model.manifest.version} was trained on the {own.name} schedule with T = "
                f"{own.timesteps}; leave out --schedule and --timesteps"
            )
        return own
    try:
        return Schedule(
            name or "linear", arguments.default_timesteps if timesteps is None else timesteps
        )
    except ValueError as error:
        raise TrainingError(f"--timesteps {timesteps}: {error}") from error


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63 - 1:
        raise TrainingError(f"--seed {seed} is not in 0 ... 2^63 - 2")


def _answer(
    arguments: argparse.Namespace,
    *,
    table: Callable[[], str],
    data: Callable[[], dict[str, Any]],
    plot: Callable[[], Image.Image],
) -> None:
    """Print the table or the JSON, and draw where asked."""
    print(json.dumps(data()) if arguments.json else table())
    if arguments.out is not None:
        try:
            save_png(plot(), arguments.out)
        except OSError as error:
            raise TrainingError(f"{arguments.out} cannot be written: {error.strerror}") from error
