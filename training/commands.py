"""The commands of `python -m training`, as functions of their parsed arguments."""

import argparse
import dataclasses
import subprocess
from pathlib import Path

import torch

from models.checkpoint import load_model, steps_of
from models.checkpoint import publish as publish_checkpoint
from models.manifest import Defaults, Manifest
from models.sample import draw
from models.sampler import build_table
from training.config import load_config
from training.data import load_pictures
from training.errors import TrainingError
from training.loop import Trainer
from training.pictures import grid, save_png, strip


def train(arguments: argparse.Namespace) -> None:
    """`train CONFIG`: train a network and publish its checkpoints."""
    overrides = list(arguments.set)
    if arguments.steps is not None:
        overrides.append(f"train.steps={arguments.steps}")
    config = load_config(arguments.config, name=arguments.name, overrides=overrides)
    until = config.train.steps if arguments.until is None else arguments.until
    path = arguments.data or (Path(config.data.path) if config.data.path else None)
    if path is None:
        raise TrainingError(
            "no data: give --data PATH, a folder with the data set's four IDX files (Debian's "
            "package dataset-fashion-mnist installs Fashion-MNIST's)"
        )
    device = pick_device(arguments.device)
    data = load_pictures(
        path,
        size=config.data.size,
        channels=config.data.channels,
        class_names=config.data.class_names,
    )
    trainer = Trainer(config, data, out=arguments.out, device=device, commit=_git_commit())
    if arguments.resume:
        trainer.resume()
    elif steps_of(trainer.folder):
        raise TrainingError(
            f"{trainer.folder} holds checkpoints already; --resume continues them, another --name "
            "or --out starts afresh"
        )
    if until <= trainer.step:
        raise TrainingError(f"step {trainer.step} is reached already; nothing to do until {until}")
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(
        f"{config.name}: {parameters / 1e6:.1f} M parameters, {len(data)} pictures of "
        f"{len(data.classes)} classes, steps {trainer.step} to {until} on {device}"
    )
    trainer.run(until=until)


def sample(arguments: argparse.Namespace) -> None:
    """`sample MODEL`: draw a grid, or a denoising strip, without the service."""
    device = pick_device(arguments.device)
    model = load_model(arguments.model, device=device)
    manifest = model.manifest
    try:
        defaults = dataclasses.replace(
            manifest.defaults,
            **{
                key: value
                for key in ("steps", "sampler", "guidance_scale")
                if (value := getattr(arguments, key)) is not None
            },
        )
        table = build_table(
            manifest.diffusion.build_schedule(),
            prediction=manifest.diffusion.prediction,
            sampler=defaults.sampler,
            steps=defaults.steps,
            variance=manifest.diffusion.variance,
        )
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if arguments.batch < 1 or arguments.scale < 1:
        raise TrainingError("--batch and --scale are at least 1")
    classes = _class_labels(manifest, arguments.class_name)
    labels = torch.tensor(classes).repeat_interleave(arguments.batch) if classes else None
    seeds = arguments.seed + torch.arange(arguments.batch).repeat(max(1, len(classes)))
    guidance_scale = _usable_guidance(manifest, defaults)
    if arguments.strip:
        image = strip(
            model.network,
            table,
            seeds=seeds,
            labels=labels,
            guidance_scale=guidance_scale,
            clip=manifest.diffusion.clip,
            frames=arguments.strip,
            scale=arguments.scale,
        )
    else:
        images = draw(
            model.network,
            table,
            seeds=seeds,
            labels=labels,
            guidance_scale=guidance_scale,
            clip=manifest.diffusion.clip,
        )
        image = grid(images, columns=min(len(images), 10), scale=arguments.scale)
    save_png(image, arguments.out)
    print(f"{arguments.out}: {manifest.version}, {defaults.sampler}, {defaults.steps} steps")


def publish(arguments: argparse.Namespace) -> None:
    """`publish NAME STEP`: verify a checkpoint and move LATEST to it."""
    folder = publish_checkpoint(arguments.out, arguments.name, arguments.step)
    print(f"{arguments.name}: LATEST is {folder.name}")


def pick_device(name: str) -> torch.device:
    """CUDA for "auto" where there is one; a device that is not there is a TrainingError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"--device {name!r} is not a device: auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this machine or torch build has no CUDA; use cpu")
    return device


def _class_labels(manifest: Manifest, wanted: str | None) -> list[int]:
    if wanted is None:
        return []
    if wanted == "all" and manifest.classes:
        return list(range(len(manifest.classes)))
    names = [name.casefold() for name in manifest.classes]
    if wanted.casefold() in names:
        return [names.index(wanted.casefold())]
    if wanted.isdecimal() and int(wanted) < len(names):
        return [int(wanted)]
    known = ", ".join(manifest.classes) or "none: it draws without a class"
    raise TrainingError(f"--class {wanted!r} is not a class of {manifest.version}; known: {known}")


def _usable_guidance(manifest: Manifest, defaults: Defaults) -> float:
    if manifest.null_class is None and defaults.guidance_scale not in (0.0, 1.0):
        raise TrainingError(
            f"--guidance-scale {defaults.guidance_scale} needs a null class, which "
            f"{manifest.version} lacks; use 1"
        )
    return defaults.guidance_scale


def _git_commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git is on PATH
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
