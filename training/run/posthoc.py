"""`average MODEL STD`: choose the length of a finished run's EMA, without training again.

A run with `train.snapshot_every` keeps snapshots of two averages (`training.run.averages`); any
other length is solved from them and becomes a checkpoint of its own, to be evaluated like others.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    RESUME,
    WEIGHTS,
    latest_step,
    publish,
    read_manifest,
    save_checkpoint,
)
from models.loading import find
from models.manifest import check_name, step_name
from training.errors import TrainingError
from training.run.averages import PowerAverages, combine

SNAPSHOTS = "snapshots"


def add_parser(subparsers: Any) -> None:
    """Add `average` to the command line; argparse has no public type for ``subparsers``."""
    parser = subparsers.add_parser("average", help="another length of EMA from a run's snapshots")
    parser.add_argument("model", type=Path, help="the run's model folder")
    parser.add_argument("std", type=float, help="length: relative standard deviation, e.g. 0.07")
    parser.add_argument("--step", type=int, help="average up to this step (default: the newest)")
    parser.add_argument("--name", help="the new model's name (default: MODEL-ema-STD)")
    parser.add_argument("--out", type=Path, help="default: beside MODEL")
    parser.set_defaults(run=average)


def average(arguments: argparse.Namespace) -> None:
    """`average MODEL STD`: write and publish the checkpoint of that average."""
    folder, std = arguments.model, arguments.std
    steps = [s for s in snapshot_steps(folder) if arguments.step is None or s <= arguments.step]
    if not steps:
        raise TrainingError(
            f"{folder} has no snapshots to average; train with train.snapshot_every = 250, say"
        )
    latest = folder / step_name(latest_step(folder))
    manifest = read_manifest(latest)
    name = arguments.name or f"{manifest.name}-ema-{std:g}"
    snapshots = [(step, load_file(_path(folder, step))) for step in steps]
    try:
        check_name(name)
        weights = combine(snapshots, step=steps[-1], std=std)
    except (ValueError, RuntimeError) as error:  # a class that came later widens the table
        raise TrainingError(str(error)) from error
    train = manifest.training.get("config", {})
    dtype = torch.bfloat16 if train.get("publish", {}).get("dtype") == "bf16" else torch.float32
    facts = {
        **manifest.training,
        "ema": {"relative_std": std, "snapshots": len(steps), "of": manifest.name},
        "pictures_seen": steps[-1] * int(train.get("train", {}).get("batch_size", 0)),
    }
    out = arguments.out or folder.parent
    averaged = replace(manifest, name=name, step=steps[-1], training=facts, quality={})
    # Tables were learned for other weights.
    distilled = replace(manifest.distilled, tables=())
    written = save_checkpoint(
        out,
        replace(averaged, distilled=distilled),
        weights={key: value.to(dtype) for key, value in weights.items()},
        companions={
            name: find(latest, name) for name in manifest.files if name not in (WEIGHTS, RESUME)
        },
    )
    publish(out, name, steps[-1])
    print(f"{written}: an average of relative length {std:g} from {len(steps)} snapshots")


def save_snapshot(folder: Path, step: int, averages: PowerAverages) -> Path:
    """Write the averages as they are after ``step``; whole or not at all."""
    path = _path(folder, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file({key: value.cpu().contiguous() for key, value in averages.state().items()}, temporary)
    temporary.replace(path)
    return path


def snapshot_steps(folder: Path) -> list[int]:
    """Steps of which there are snapshots, oldest first."""
    return sorted(int(path.stem) for path in (folder / SNAPSHOTS).glob("*.safetensors"))


def _path(folder: Path, step: int) -> Path:
    return folder / SNAPSHOTS / f"{step_name(step)}.safetensors"
