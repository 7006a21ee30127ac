"""Whole folders: a DDPMPipeline's, a bare UNet2DModel's or a StableDiffusionPipeline's, and ours.

    <pipeline>/model_index.json
    <pipeline>/unet/config.json, unet/diffusion_pytorch_model.safetensors
    <pipeline>/scheduler/scheduler_config.json
    <pipeline>/vae/, text_encoder/, tokenizer/     of a StableDiffusionPipeline
    <pipeline>/README.md, strip.png     the model's card
    <pipeline>/emaki.json          ours: the manifest, which diffusers has no words for

Tensors are copied bit for bit, in the dtype they have. No pickle is read.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file

from models.checkpoint import (
    LATEST,
    MANIFEST,
    WEIGHTS,
    file_sha256,
    load_model,
    publish,
    resolve,
    save_checkpoint,
    steps_of,
    whole_folder,
)
from models.manifest import Defaults, FileRecord, Manifest, check_name
from models.unet import UNetConfig
from training.card import write_card
from training.conversion.options import read_json, unsupported
from training.conversion.scheduler import (
    from_diffusion,
    from_latent_diffusion,
    to_diffusion,
    to_latent_diffusion,
)
from training.conversion.stable import (
    STABLE_PIPELINE,
    check_index,
    read_companions,
    require_pipeline,
    write_companions,
)
from training.conversion.text_unet import from_text_network, to_text_network
from training.conversion.unet import CONFIG, UNET_CLASS, from_network, to_network
from training.conversion.weights import UNET_WEIGHTS, read_weights, write_weights
from training.errors import TrainingError
from training.run.scalars import REPORTS

NullClass = int | None | Literal["keep"]
REMEMBERED = "emaki.json"
INDEX = "model_index.json"
SCHEDULER_CONFIG = "scheduler_config.json"
_PIPELINES = ("DDPMPipeline", "DDIMPipeline", STABLE_PIPELINE)
_TEXT_GUIDANCE = 7.5  # StableDiffusionPipeline's default
# The oldest version that reads what we write; diffusers wants some version to stand there.
_DIFFUSERS_VERSION = "0.18.0"


@dataclass(frozen=True)
class Converted:
    """Where the result is, what it is, and what a person should know about it."""

    folder: Path
    manifest: Manifest
    notes: tuple[str, ...]


def convert(source: Path, target: Path, *, null_class: NullClass = "keep") -> Converted:
    """Our checkpoint to a diffusers pipeline, or a diffusers folder to our model.

    Args:
        source: a checkpoint or model folder, a pipeline folder, or a bare UNet2DModel folder.
        target: the pipeline folder to write; or our model's folder, whose name is the model's.
        null_class: the label that means "unconditional"; "keep" what is known of it.

    Raises:
        TrainingError: nothing to convert, something we do not support, or no room at target.
        CheckpointError: our checkpoint does not verify.
    """
    if any((source / name).is_file() for name in (MANIFEST, LATEST)):
        return _to_diffusers(source, target, null_class)
    if any((source / name).is_file() for name in (INDEX, CONFIG)):
        return _to_checkpoint(source, target, null_class)
    raise TrainingError(
        f"{source} holds none of {MANIFEST}, {LATEST}, {INDEX}, {CONFIG}: it is neither a "
        "checkpoint of ours nor a diffusers folder; give the folder that holds one of them"
    )


def _to_diffusers(source: Path, target: Path, null_class: NullClass) -> Converted:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TrainingError(f"{target} exists already; give a folder that does not")
    folder = resolve(source)
    manifest = _with_null_class(load_model(folder).manifest, null_class)
    stable = manifest.latent is not None or manifest.text is not None
    if stable:
        require_pipeline(folder, manifest)
    scheduler = (from_latent_diffusion if stable else from_diffusion)(manifest.diffusion)

    with whole_folder(target.absolute()) as temporary:
        for part in ("unet", "scheduler"):
            (temporary / part).mkdir()
        path = write_weights(temporary / "unet", load_file(folder / WEIGHTS))
        record = FileRecord(sha256=file_sha256(path), bytes=path.stat().st_size)
        kept = dataclasses.replace(manifest, files={f"unet/{UNET_WEIGHTS}": record})
        index = {
            "_class_name": STABLE_PIPELINE if stable else _PIPELINES[0],
            "scheduler": ["diffusers", scheduler["_class_name"]],
            "unet": ["diffusers", UNET_CLASS],
        }
        if stable:
            index |= write_companions(folder, manifest, temporary)
            index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        words = (from_text_network if stable else from_network)(manifest.network)
        _write_json(temporary / INDEX, index)
        _write_json(temporary / "unet" / CONFIG, words)
        _write_json(temporary / "scheduler" / SCHEDULER_CONFIG, scheduler)
        _write_json(temporary / REMEMBERED, kept.to_json(), versioned=False)
        write_card(temporary, manifest, strips=folder.parent / REPORTS, diffusers=True)

    notes = []
    if scheduler["trained_betas"] is not None:
        notes.append(
            f"diffusers has no {manifest.diffusion.schedule} schedule like ours: its betas are "
            "written out as trained_betas"
        )
    if manifest.network.num_class_embeds is not None:
        unconditional = (
            "there is none for unconditional"
            if manifest.null_class is None
            else (f"{manifest.null_class} is unconditional")
        )
        notes.append(
            "DDPMPipeline gives no labels, which this network needs: call pipeline.unet with "
            f"class_labels ({unconditional})"
        )
    return Converted(target, manifest, tuple(notes))


def _to_checkpoint(source: Path, target: Path, null_class: NullClass) -> Converted:
    name = target.absolute().name
    try:
        check_name(name)
    except ValueError as error:
        raise TrainingError(f"{target}: {error}; TO's last part is the model's name") from error
    if steps_of(target):
        raise TrainingError(f"{target} holds checkpoints already; convert to another name")
    notes: list[str] = []
    folder = _unet_folder(source)
    before = _remembered(source)
    words = read_json(folder / CONFIG)
    network = _network(source, folder, words, null_class, before)
    parts = read_companions(source, network) if network.text else None
    where, scheduler = _scheduler(source, folder, notes)
    diffusion = (to_latent_diffusion if parts else to_diffusion)(where, scheduler)
    weights = read_weights(folder, network)

    labels = network.num_class_embeds or 0
    named = labels - (network.null_class is not None and network.null_class == labels - 1)
    manifest = Manifest(
        name=name,
        step=0,
        network=network,
        diffusion=diffusion,
        classes=tuple(map(str, range(named))),
        defaults=Defaults(
            steps=min(20, diffusion.timesteps), guidance_scale=_TEXT_GUIDANCE if parts else 1.0
        ),
        training={"converted_from": {"unet": words, "scheduler": scheduler}},
        latent=parts.latent if parts else None,
        text=parts.text if parts else None,
    )
    if before and _same_model(before, manifest):
        manifest = _as_before(manifest, before)
        record = before.files.get(f"unet/{UNET_WEIGHTS}")
        if record is None or record.sha256 != file_sha256(folder / UNET_WEIGHTS):
            manifest = dataclasses.replace(manifest, quality={})
            notes.append("the weights changed since Emaki wrote them: quality figures are dropped")
    elif before:
        notes.append(f"{REMEMBERED} describes another network or schedule and is left aside")
    if labels and network.null_class is None:
        notes.append("no label means unconditional: no guidance; say which with --null-class")
    saved = save_checkpoint(
        target.absolute().parent,
        manifest,
        weights=weights,
        companions=parts.files if parts else None,
    )
    publish(target.absolute().parent, name, manifest.step)
    return Converted(saved, manifest, tuple(notes))


def _network(
    source: Path,
    folder: Path,
    words: Mapping[str, Any],
    null_class: NullClass,
    before: Manifest | None,
) -> UNetConfig:
    """The network that ``words`` describe; with text in a pipeline that has text."""
    where = str(folder / CONFIG)
    if _is_stable(source):
        check_index(str(source / INDEX), read_json(source / INDEX))
        if null_class != "keep":
            raise TrainingError(f"--null-class is for labels; {source} draws from text")
        return to_text_network(where, words)
    if null_class == "keep":
        same = before and before.network.num_class_embeds == words.get("num_class_embeds")
        null_class = before.null_class if before and same else None
    return to_network(where, words, null_class=null_class)


def _is_stable(source: Path) -> bool:
    index = source / INDEX
    return index.is_file() and read_json(index).get("_class_name") == STABLE_PIPELINE


def _as_before(manifest: Manifest, before: Manifest) -> Manifest:
    """What Emaki remembers of the model that it wrote, about the parts that are there now."""
    if manifest.text is None or before.text is None:
        same = dataclasses.replace(before, name=manifest.name)
        return _with_null_class(same, manifest.null_class)
    text = dataclasses.replace(manifest.text, examples=before.text.examples)
    return dataclasses.replace(before, name=manifest.name, latent=manifest.latent, text=text)


def _unet_folder(source: Path) -> Path:
    """Where the network is: in ``unet/`` today, beside the index in older repositories."""
    if not (source / INDEX).is_file():
        return source
    kind = read_json(source / INDEX).get("_class_name", _PIPELINES[0])
    if kind not in _PIPELINES:
        raise unsupported(str(source / INDEX), "_class_name", kind, _PIPELINES)
    return source / "unet" if (source / "unet" / CONFIG).is_file() else source


def _scheduler(source: Path, folder: Path, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """The scheduler's configuration and what messages call it."""
    places = [source / "scheduler", source, folder.absolute().parent / "scheduler"]
    for place in places if folder.name == "unet" else places[:2]:
        if (place / SCHEDULER_CONFIG).is_file():
            return str(place / SCHEDULER_CONFIG), read_json(place / SCHEDULER_CONFIG)
    notes.append(
        f"{source} has no {SCHEDULER_CONFIG}: DDPMScheduler's defaults are assumed (linear "
        "schedule, T = 1000, noise prediction); put the file there if they are wrong"
    )
    return "DDPMScheduler's defaults", {}


def _remembered(source: Path) -> Manifest | None:
    """The manifest that we left when we wrote the folder."""
    path = source / REMEMBERED
    return Manifest.from_json(read_json(path)) if path.is_file() else None


def _same_model(one: Manifest, other: Manifest) -> bool:
    networks = [dataclasses.replace(manifest.network, null_class=None) for manifest in (one, other)]
    return networks[0] == networks[1] and one.diffusion == other.diffusion


def _with_null_class(manifest: Manifest, null_class: NullClass) -> Manifest:
    """The manifest with another null class; without one there is no guidance."""
    if null_class == "keep":
        return manifest
    try:
        network = dataclasses.replace(manifest.network, null_class=null_class)
    except ValueError as error:
        raise TrainingError(f"--null-class {null_class}: {error}") from error
    guidance = manifest.defaults.guidance_scale if null_class is not None else 1.0
    defaults = dataclasses.replace(manifest.defaults, guidance_scale=guidance)
    return dataclasses.replace(manifest, network=network, defaults=defaults)


def _write_json(path: Path, data: Mapping[str, Any], *, versioned: bool = True) -> None:
    version = {"_diffusers_version": _DIFFUSERS_VERSION} if versioned else {}
    path.write_text(json.dumps({**data, **version}, indent=2, ensure_ascii=False) + "\n", "utf-8")
