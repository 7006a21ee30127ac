"""`python -m training convert FROM TO`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from training.conversion.folders import NullClass, convert
from training.errors import TrainingError


def add_parser(subparsers: Any) -> None:
    """Add `convert` to the command line; argparse has no public type for ``subparsers``."""
    parser = subparsers.add_parser(
        "convert", help="diffusers' layout to a checkpoint of ours, or back"
    )
    parser.add_argument(
        "source",
        metavar="FROM",
        type=Path,
        help="our model, a DDPMPipeline, a UNet2DModel or a StableDiffusionPipeline",
    )
    parser.add_argument(
        "target", metavar="TO", type=Path, help="a new folder; its name is the new model's name"
    )
    parser.add_argument(
        "--null-class",
        metavar="K|none",
        help="the label that means unconditional (default: what the manifest says, else none)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """`convert FROM TO`: whichever way FROM says."""
    null_class = _null_class(arguments.null_class)
    try:
        result = convert(arguments.source, arguments.target, null_class=null_class)
    except OSError as error:
        raise TrainingError(f"{arguments.target} cannot be written: {error.strerror}") from error
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    diffusion = result.manifest.diffusion
    channels, height, width = result.manifest.picture_shape
    print(
        f"{result.folder}: {channels}x{height}x{width} pixels, "
        f"{diffusion.schedule} schedule, T = {diffusion.timesteps}, predicts "
        f"{diffusion.prediction}"
    )


def _null_class(text: str | None) -> NullClass:
    if text is None:
        return "keep"
    if text == "none":
        return None
    if not text.isdecimal():
        raise TrainingError(f"--null-class {text!r} is neither a label (0, 1, ...) nor none")
    return int(text)
