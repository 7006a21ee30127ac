"""`python -m training autoencoder CONFIG`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.memory import keep_freed_memory
from training.autoencoder.loop import RESUME, AutoencoderTrainer
from training.autoencoder.settings import Settings, load_settings
from training.devices import described, pick_device
from training.errors import TrainingError
from training.pictures.data import Pictures, load_pictures
from training.pictures.source import Split


def add_parser(subparsers: Any, *, find_preset: Callable[[str], Path] = Path) -> None:
    """Add `autoencoder` to the command line; argparse has no public type for ``subparsers``."""
    parser = subparsers.add_parser("autoencoder", help="train an autoencoder for latent models")
    parser.add_argument(
        "config", type=find_preset, help="a TOML file, e.g. configs/cars-64-vae.toml"
    )
    parser.add_argument("--data", type=Path, help="folder or zip of pictures (default: data.path)")
    parser.add_argument(
        "--out", type=Path, default=Path("autoencoders"), help="default: autoencoders"
    )
    parser.add_argument("--name", help="the folder's name in it (default: the configuration's)")
    parser.add_argument("--steps", type=int, help="length of the learning-rate schedule")
    parser.add_argument("--until", type=int, help="stop after this step, resumable")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--resume", action="store_true", help="continue what is there")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """`autoencoder CONFIG`: train one, and leave a folder that diffusers reads."""
    overrides = list(arguments.set)
    if arguments.steps is not None:
        overrides.append(f"train.steps={arguments.steps}")
    settings = load_settings(arguments.config, name=arguments.name, overrides=overrides)
    path = arguments.data or (Path(settings.data.path) if settings.data.path else None)
    if path is None:
        raise TrainingError("no data: give --data PATH, a folder or zip of pictures")
    folder = arguments.out / settings.name
    if (folder / RESUME).is_file() != arguments.resume:
        what = "holds a run already; --resume continues it" if not arguments.resume else "has none"
        raise TrainingError(f"{folder} {what}, another --name or --out starts afresh")
    device = pick_device(arguments.device)
    if device.type == "cpu":
        keep_freed_memory()
    train, test = (load_split(path, settings, split) for split in ("train", "test"))
    trainer = AutoencoderTrainer(settings, train, test, out=arguments.out, device=device)
    if arguments.resume:
        trainer.resume()
    until = settings.train.steps if arguments.until is None else arguments.until
    if until <= trainer.step:
        raise TrainingError(f"step {trainer.step} is reached already; nothing to do until {until}")
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(
        f"{settings.name}: {parameters / 1e6:.2f} M parameters, {len(train)} pictures and "
        f"{len(test)} unseen ones; steps {trainer.step} to {until} "
        f"on {described(device, bf16=settings.train.bf16)}",
        flush=True,
    )
    trainer.run(until=until)
    print(f"{folder}: PSNR {trainer.measure():.2f} dB on unseen pictures")


def load_split(path: Path, settings: Settings, split: Split) -> Pictures:
    """What is trained on, or what is unseen: the same as of the model whose latents they are."""
    data = settings.data
    return load_pictures(
        path,
        split=split,
        size=data.size,
        channels=data.channels,
        class_names=data.class_names,
        label=data.label,
        resize=data.resize,
        hold_out=data.hold_out,
        caption=settings.text.caption if settings.text else None,
        caption_group=settings.text.group if settings.text else None,
    )
