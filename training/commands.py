"""The commands of `python -m training`, as functions of their parsed arguments."""

import argparse
import dataclasses
import json
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.autoencoder import preview
from models.checkpoint import MANIFEST, Model, load_model, resolve, write_manifest
from models.checkpoint import publish as publish_checkpoint
from models.encoder import TextError
from models.guidance import needs_null_class
from models.manifest import Defaults, Manifest
from models.sample import draw
from training.devices import pick_device
from training.errors import TrainingError
from training.judging.evaluate import measure_agreement
from training.pictures.data import load_alike
from training.pictures.sources import SPLITS
from training.sheets import grid, save_png, strip


def sample(arguments: argparse.Namespace) -> None:
    """`sample MODEL`: draw a grid, or a denoising strip, without the service."""
    model = load_model(arguments.model, device=pick_device(arguments.device))
    manifest = model.manifest
    settings = _settings(manifest, arguments)
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


def evaluate(arguments: argparse.Namespace) -> None:
    """`evaluate MODEL`: measure class agreement; at the defaults, note it in the manifest."""
    folder = resolve(arguments.model)
    model = load_model(folder, device=pick_device(arguments.device))
    manifest = model.manifest
    if arguments.images < 1:
        raise TrainingError("--images is at least 1")
    train, test = (load_alike(arguments.data, manifest, split=split) for split in SPLITS)
    settings = _settings(manifest, arguments)
    agreement = measure_agreement(
        model, settings, train=train, test=test, images=arguments.images, say=_say
    )
    if settings == manifest.defaults:
        quality = {**manifest.quality, "class_agreement": agreement.to_json()}
        write_manifest(folder, dataclasses.replace(manifest, quality=quality))
        _say(f"noted in {folder / MANIFEST}")
    if arguments.json:
        facts = {**agreement.to_json(), "images_per_second": agreement.images_per_second}
        print(json.dumps({"model": manifest.version, "class_agreement": facts}))
        return
    print(
        f"{manifest.version}, {settings.sampler}, {settings.steps} steps, guidance "
        f"{settings.guidance_scale}: {agreement.drawn:.1%} of {agreement.images} drawn pictures "
        f"and {agreement.real:.1%} of {len(test)} real ones agree with their class, a ratio of "
        f"{agreement.ratio:.3f}; {agreement.images_per_second:.1f} pictures/s"
    )
    for name, share in agreement.per_class.items():
        print(f"  {name:<16} {share:.1%}")


def publish(arguments: argparse.Namespace) -> None:
    """`publish NAME STEP`: verify a checkpoint and move LATEST to it."""
    folder = publish_checkpoint(arguments.out, arguments.name, arguments.step)
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


def _settings(manifest: Manifest, arguments: argparse.Namespace) -> Defaults:
    """The model's defaults with what the command line changes."""
    names = ("steps", "sampler", "guidance_scale")
    changes = {name: getattr(arguments, name) for name in names}
    try:
        settings = dataclasses.replace(
            manifest.defaults, **{k: v for k, v in changes.items() if v is not None}
        )
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
