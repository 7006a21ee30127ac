"""The commands of `python -m training`, as functions of their parsed arguments."""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.autoencoder import preview
from models.checkpoint import Model, load_model, read_manifest
from models.checkpoint import publish as publish_checkpoint
from models.encoder import TextError
from models.manifest import Manifest
from models.sample import draw
from training.card import write_card
from training.devices import pick_device
from training.errors import TrainingError
from training.judging.drawing import asked_settings
from training.run.scalars import REPORTS
from training.sheets import grid, save_png, strip


def sample(arguments: argparse.Namespace) -> None:
    """`sample MODEL`: draw a grid, or a denoising strip, without the service."""
    model = load_model(arguments.model, device=pick_device(arguments.device))
    manifest = model.manifest
    settings = asked_settings(manifest, arguments)
    if arguments.batch < 1 or arguments.scale < 1 or arguments.strip < 0:
        raise TrainingError("--batch and --scale are at least 1, --strip at least 0")
    if not 0 <= arguments.seed <= 2**63 - arguments.batch:
        raise TrainingError(f"--seed {arguments.seed} is not in 0 ... 2^63 - batch")
    told, null = _told(model, arguments)
    groups = 1 if told is None else len(told)
    drawing: dict[str, Any] = {
        "seeds": arguments.seed + torch.arange(arguments.batch).repeat(groups),
        "labels": None if told is None else told.repeat_interleave(arguments.batch, dim=0),
        "null": null,
        "guidance_scale": settings.guidance_scale,
        "guidance_interval": settings.guidance_interval,
        "clip": manifest.diffusion.clip,
    }
    table = manifest.build_table(
        settings.sampler, settings.steps, guidance_scale=settings.guidance_scale
    )
    if arguments.strip:
        latent = manifest.latent
        image = strip(
            model.network,
            table,
            frames=arguments.strip,
            scale=arguments.scale * (latent.size[0] // manifest.network.size[0] if latent else 1),
            show=partial(preview, weights=latent.preview) if latent else None,
            **drawing,
        )
    else:
        images = draw(model.network, table, **drawing)
        if model.autoencoder is not None:
            images = model.autoencoder.decode(images)
        columns = arguments.batch if groups > 1 else min(len(images), 10)
        image = grid(images, columns=columns, scale=arguments.scale)
    save_png(image, arguments.out)
    print(f"{arguments.out}: {manifest.version}, {settings.sampler}, {settings.steps} steps")


def publish(arguments: argparse.Namespace) -> None:
    """`publish NAME STEP`: verify a checkpoint, move LATEST to it, and write the model's card."""
    folder = publish_checkpoint(arguments.out, arguments.name, arguments.step)
    strips = folder.parent / REPORTS
    write_card(folder.parent, read_manifest(folder), strips=strips, diffusers=False)
    print(f"{arguments.name}: LATEST is {folder.name}")


def _told(model: Model, arguments: argparse.Namespace) -> tuple[Tensor | None, Tensor | None]:
    """What each group of pictures is drawn for, and what guidance leads away from."""
    manifest, encoder = model.manifest, model.encoder
    if encoder is None:
        if arguments.prompt or arguments.negative_prompt:
            raise TrainingError(f"{manifest.version} does not draw from texts; try --class")
        if arguments.class_name is None and manifest.classes and manifest.null_class is None:
            raise TrainingError(
                f"{manifest.version} cannot draw without a class; give one with --class"
            )
        classes = _class_labels(manifest, arguments.class_name)
        return (torch.tensor(classes) if classes else None), None
    if arguments.class_name is not None:
        raise TrainingError(f"{manifest.version} draws from texts; give one with --prompt")
    try:
        told = [encoder.encode(prompt).states for prompt in arguments.prompt or [""]]
        return torch.stack(told), encoder.encode(arguments.negative_prompt or "").states
    except TextError as error:
        raise TrainingError(str(error)) from error


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
