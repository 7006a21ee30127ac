"""The pictures that are judged: drawn from a model as it would be asked for them, and timed.

Picture i comes from seed i, and the classes have the shares that they have in the training data.
Shapes: N pictures of (C, H, W), uint8, as they would be sent.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoint import Model
from models.distilled import ALL_SAMPLERS
from models.encoder import TextEncoder
from models.guidance import needs_null_class, run_evaluations
from models.manifest import Defaults, Manifest
from models.sample import draw, to_uint8
from training.errors import TrainingError

_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Drawn pictures and what they took.

    Attributes:
        images: (N, C, H, W) uint8, on the CPU.
        labels: (N,) int64, the class that each was drawn for; None without classes.
        seconds: of drawing alone.
        evaluations: of the network, for one picture.
    """

    images: Tensor
    labels: Tensor | None
    settings: Defaults
    seconds: float
    evaluations: int

    @property
    def images_per_second(self) -> float:
        """How fast they came."""
        return len(self.images) / self.seconds


def draw_pictures(
    model: Model,
    settings: Defaults,
    *,
    images: int,
    real_labels: npt.NDArray[np.int64],
    captions: Sequence[str] = (),
    say: Callable[[str], None],
) -> Drawn:
    """Draw ``images`` pictures; classes, or captions, have the shares of ``real_labels``."""
    manifest = model.manifest
    table = manifest.build_table(
        settings.sampler, settings.steps, guidance_scale=settings.guidance_scale
    )
    wanted = torch.from_numpy(class_turns(real_labels, images)) if manifest.classes else None
    told, null = wanted, None
    if model.encoder is not None:
        told = _states(model.encoder, class_turns(real_labels, images), captions)
        null = model.encoder.encode("").states
    parts: list[Tensor] = []
    began = time.monotonic()
    for seeds in torch.split(torch.arange(images), _BATCH):
        pictures = draw(
            model.network,
            table,
            seeds=seeds,
            labels=None if told is None else told[seeds],
            null=null,
            guidance_scale=settings.guidance_scale,
            guidance_interval=settings.guidance_interval,
            clip=manifest.diffusion.clip,
        )
        if model.autoencoder is not None:
            pictures = model.autoencoder.decode(pictures)
        parts.append(to_uint8(pictures).cpu())
        done = int(seeds[-1]) + 1
        say(f"drew {done} of {images}, {done / (time.monotonic() - began):.1f} pictures/s")
    return Drawn(
        images=torch.cat(parts),
        labels=wanted,
        settings=settings,
        seconds=time.monotonic() - began,
        evaluations=run_evaluations(
            table.steps,
            settings.guidance_scale,
            settings.guidance_interval,
            conditional=told is not None,
        ),
    )


def _states(encoder: TextEncoder, labels: npt.NDArray[np.int64], captions: Sequence[str]) -> Tensor:
    """(N, L, S): what the network is told by the captions of these labels, each encoded once."""
    if not captions:
        raise TrainingError("the model draws from texts, and the data has no captions")
    distinct, rows = np.unique(labels, return_inverse=True)
    states = torch.stack([encoder.encode(captions[label]).states.cpu() for label in distinct])
    return states[torch.from_numpy(rows)]


def class_turns(
    real_labels: npt.NDArray[np.int64],
    count: int,
    *,
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.int64]:
    """(count,) classes in turn, each as often as its share of ``real_labels`` asks.

    Equal shares give 0, 1, ... over and over. Else each class gets its share rounded down, and the
    largest remainders one more; a class's turns lie evenly over the whole.
    """
    totals = np.bincount(real_labels, weights)
    shares = totals / totals.sum() * count
    turns = np.floor(shares).astype(np.int64)
    largest = np.argsort(turns - shares, kind="stable")
    turns[largest[: count - turns.sum()]] += 1
    labels = np.repeat(np.arange(len(turns)), turns)
    places = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in turns])
    # Rounded, so that classes of equal shares come in their order, not in that of rounding errors.
    return labels[np.lexsort((labels, places.round(9)))]


def pick_by_class(
    labels: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Indices of pictures, by chance but always the same: of each class as many as ``wanted`` has.

    Where a class has too few, others take their place; there are as many as ``wanted`` in all.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    counts = np.bincount(wanted)
    found = [order[labels[order] == label][:count] for label, count in enumerate(counts)]
    picked = np.concatenate(found)
    rest = order[~np.isin(order, picked)]
    return np.sort(np.concatenate([picked, rest[: len(wanted) - len(picked)]]))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """How to draw, on a command line."""
    parser.add_argument("--steps", type=int, help="default: the model's")
    parser.add_argument("--sampler", choices=ALL_SAMPLERS, help="default: the model's")
    add_guidance(parser)


def add_guidance(parser: argparse.ArgumentParser) -> None:
    """How much guidance, and when, on a command line."""
    parser.add_argument("--guidance-scale", type=float, help="default: the model's")
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("FROM", "TO"),
        help="share of the run in which guidance applies; default: the model's",
    )


def asked_settings(manifest: Manifest, arguments: argparse.Namespace) -> Defaults:
    """What `add_settings` read, over the model's defaults."""
    interval = arguments.guidance_interval
    return chosen_settings(
        manifest,
        steps=arguments.steps,
        sampler=arguments.sampler,
        guidance_scale=arguments.guidance_scale,
        guidance_interval=None if interval is None else tuple(interval),
    )


def settings_to_json(settings: Defaults) -> dict[str, Any]:
    """As a manifest gives them back, so that what was noted can be compared."""
    return {
        **dataclasses.asdict(settings),
        "guidance_interval": list(settings.guidance_interval),
    }


def chosen_settings(manifest: Manifest, **changes: Any) -> Defaults:
    """The model's defaults with what is changed (None: not), if the model can draw so.

    Raises:
        TrainingError: it cannot.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    try:
        settings = dataclasses.replace(manifest.defaults, **changes)
        table = manifest.distilled.learned(settings.steps, settings.guidance_scale)
        if settings.sampler == "learned" and table and "guidance_interval" not in changes:
            settings = dataclasses.replace(settings, guidance_interval=table.guidance_interval)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    try:
        manifest.distilled.check(settings.sampler, settings.steps, settings.guidance_scale)
    except ValueError as error:
        raise TrainingError(f"{manifest.version} cannot draw this: {error}") from error
    longest = manifest.diffusion.timesteps
    if not 1 <= settings.steps <= longest:
        raise TrainingError(f"--steps {settings.steps}: {manifest.version} takes 1 to {longest}")
    lacks = manifest.null_class is None and bool(manifest.classes)
    if lacks and needs_null_class(settings.guidance_scale):
        raise TrainingError(
            f"--guidance-scale {settings.guidance_scale} needs a null class, which "
            f"{manifest.version} lacks; use 1"
        )
    return settings
