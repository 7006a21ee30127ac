"""What StableDiffusionPipeline's folders hold besides a network and a scheduler.

    <pipeline>/vae/            AutoencoderKL or AutoencoderTiny
    <pipeline>/text_encoder/   CLIPTextModel
    <pipeline>/tokenizer/      CLIPTokenizer

They are copied as they are. What Emaki does not do (Stable Diffusion XL, safety checkers, image
prompts) is refused by name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.autoencoder import (
    AutoencoderError,
    fit_preview,
    load_autoencoder,
    read_config,
    smooth_latents,
)
from models.companions import (
    AUTOENCODER,
    CONFIG,
    ENCODER,
    TOKENIZER,
    Latent,
    Text,
    autoencoder_files,
    encoder_files,
    tokenizer_files,
)
from models.encoder import EncoderError, load_encoder
from models.manifest import Manifest
from models.unet import UNetConfig
from training.conversion.options import read_json, unsupported
from training.conversion.text_unet import TEXT_UNET_CLASS
from training.errors import TrainingError

STABLE_PIPELINE = "StableDiffusionPipeline"
_COMPONENTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
_UNREAD = ("feature_extractor", "requires_safety_checker")  # of the safety checker alone
_ENCODER_CLASS, _TOKENIZER_CLASS = "CLIPTextModel", "CLIPTokenizer"
_SCALE = {"AutoencoderKL": 0.18215, "AutoencoderTiny": 1.0}  # diffusers' defaults
_PREVIEWS = 16  # random latents that a preview is fitted on


@dataclass(frozen=True)
class Companions:
    """An autoencoder and a text encoder: what the manifest says, and the files to copy."""

    latent: Latent
    text: Text
    files: Mapping[str, Path]


def check_index(where: str, index: Mapping[str, Any]) -> None:
    """Refuse components of a ``model_index.json`` that Emaki has not.

    Raises:
        TrainingError: it names one.
    """
    for name, component in index.items():
        present = isinstance(component, list) and component != [None, None]
        if name.startswith("_") or name in _UNREAD or not present:
            continue
        if name not in _COMPONENTS:
            raise TrainingError(
                f"{where}: {name} is not supported; where you may do without it, put [null, null] "
                f"there ({', '.join(_COMPONENTS)} are read)"
            )
        if name == ENCODER and component[1] != _ENCODER_CLASS:
            raise unsupported(where, name, component[1], (_ENCODER_CLASS,))


def read_companions(source: Path, network: UNetConfig) -> Companions:
    """The autoencoder and the text encoder of a pipeline's folder.

    Raises:
        TrainingError: one is missing, damaged or not supported, or does not fit the network.
    """
    vae, encoder, tokenizer = (source / part for part in (AUTOENCODER, ENCODER, TOKENIZER))
    try:
        words = read_config(vae)
        scale = float(words.get("scaling_factor") or _SCALE[words["_class_name"]])
        autoencoder = load_autoencoder(vae, scale=scale)
        tokens = _tokens(encoder, tokenizer)
        width = load_encoder(encoder, tokenizer, tokens=tokens).width
    except (AutoencoderError, EncoderError) as error:
        raise TrainingError(str(error)) from error
    if autoencoder.channels != network.channels:
        raise TrainingError(
            f"{vae} has {autoencoder.channels} channels, the network {network.channels}: they do "
            "not belong together"
        )
    if network.text is None or network.text.width != width:
        raise TrainingError(f"{encoder} gives {width} channels, which the network does not take")
    latents = smooth_latents(_PREVIEWS, network.channels, 16)
    height, width = (side * autoencoder.factor for side in network.size)
    return Companions(
        Latent(
            size=(height, width),
            channels=autoencoder.picture_channels,
            scale=scale,
            preview=fit_preview(latents, torch.cat([autoencoder.decode(z[None]) for z in latents])),
        ),
        Text(tokens=tokens),
        autoencoder_files(vae) | encoder_files(encoder) | tokenizer_files(tokenizer),
    )


def _tokens(encoder: Path, tokenizer: Path) -> int:
    """How long a text the pipeline lets in: as long as both parts allow."""
    positions = read_json(encoder / CONFIG).get("max_position_embeddings", 77)
    longest = read_json(tokenizer / "tokenizer_config.json").get("model_max_length", positions)
    return int(min(positions, longest))


def require_pipeline(folder: Path, manifest: Manifest) -> None:
    """Refuse a checkpoint of parts that diffusers has no pipeline for.

    Raises:
        TrainingError: it is one.
    """
    if manifest.latent is None or manifest.text is None:
        raise TrainingError(
            f"{manifest.version} has {'text' if manifest.text else 'latents'} alone: diffusers has "
            f"no pipeline for that; {STABLE_PIPELINE} has both"
        )
    kind = read_json(folder / ENCODER / CONFIG).get("model_type")
    if kind != "clip_text_model":
        raise unsupported(str(folder / ENCODER / CONFIG), "model_type", kind, ("clip_text_model",))


def write_companions(folder: Path, manifest: Manifest, target: Path) -> dict[str, list[str]]:
    """Copy a checkpoint's autoencoder and text encoder into a pipeline's folder.

    Returns:
        What ``model_index.json`` calls them.
    """
    assert manifest.latent is not None
    for name in manifest.files:
        if name.startswith((f"{AUTOENCODER}/", f"{ENCODER}/", f"{TOKENIZER}/")):
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_bytes((folder / name).read_bytes())
    words = read_json(target / AUTOENCODER / CONFIG)
    if words.get("scaling_factor") != manifest.latent.scale:
        words["scaling_factor"] = manifest.latent.scale
        (target / AUTOENCODER / CONFIG).write_text(json.dumps(words, indent=2) + "\n", "utf-8")
    return {
        "vae": ["diffusers", words["_class_name"]],
        "text_encoder": ["transformers", _ENCODER_CLASS],
        "tokenizer": ["transformers", _TOKENIZER_CLASS],
        "unet": ["diffusers", TEXT_UNET_CLASS],
    }
