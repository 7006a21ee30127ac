"""What a run's network is given: pixels or latents, and labels or states of captions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.autoencoder import AutoencoderError, read_config
from models.checkpoint import file_sha256
from models.companions import (
    AUTOENCODER,
    AUTOENCODER_WEIGHTS,
    CONFIG,
    Latent,
    Text,
    autoencoder_files,
)
from models.manifest import Manifest
from models.unet import UNetConfig
from training.config import Config
from training.encoding import latents, texts
from training.errors import TrainingError
from training.pictures.data import Pictures


@dataclass(frozen=True)
class Inputs:
    """A data set as the network sees it.

    Attributes:
        images: (N, C, H, W) uint8 pixels; or (N, M, c, h, w) float16 latents, of the pictures
            and where M is 2 of the mirrored ones.
        labels: (N,) int64 classes; or rows of ``states``.
        states: (U, L, S) float16 of the captions; None without text.
        null: (L, S) of no caption.
        latent, text: what the manifest says.
        companions: files that checkpoints hold for it.
        facts: digests of what encoded; a resumed run has the same.
        reconstruction: the autoencoder's PSNR, in dB, and on how many unseen ``pictures``.
        weights: (N,) how often each is shown for once that others are; None: all alike.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    states: npt.NDArray[np.float16] | None = None
    null: torch.Tensor | None = None
    latent: Latent | None = None
    text: Text | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reconstruction: Mapping[str, Any] = field(default_factory=dict)
    weights: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what the network sees."""
        _, *_, channels, height, width = self.images.shape
        return channels, height, width

    def conditions(self, labels: npt.NDArray[np.int64]) -> torch.Tensor:
        """What the network is told for rows with these labels: (B,) int64 or (B, L, S)."""
        return torch.from_numpy(labels if self.states is None else self.states[labels])


def network_shape(config: Config, classes: int) -> UNetConfig:
    """The network for a configuration and so many classes, from the encoders' descriptions.

    Raises:
        TrainingError: an encoder's folder is none, or does not fit the pictures.
    """
    width = None
    if config.text is not None:
        width, classes = _width(config), 0
    null_class = config.train.label_dropout > 0 and classes > 0
    return config.network.build(
        config.data, classes, null_class=null_class, latent=_latent_shape(config), text_width=width
    )


def prepare(
    config: Config,
    data: Pictures,
    *,
    device: torch.device,
    say: Callable[[str], None],
    beside: Pictures | None = None,
) -> Inputs:
    """Encode a data set as the configuration says; what is in the cache is not done again.

    Args:
        beside: the pictures that the network learns from, if others: encoders are fitted to those.

    Raises:
        TrainingError: an encoder cannot be used, or the cache cannot be written.
    """
    images: npt.NDArray[Any] = data.images
    latent, states = None, None
    companions: dict[str, Path] = {}
    facts: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    if config.latent is not None:
        folder = Path(config.latent.autoencoder)
        encode = partial(
            latents.encoded, folder=folder, flip=config.data.flip, device=device, say=say
        )
        found = encode(data, scale=encode(beside).latent.scale if beside is not None else None)
        images, latent = found.values, found.latent
        companions |= autoencoder_files(folder)
        facts["autoencoder"] = file_sha256(folder / AUTOENCODER_WEIGHTS)
        measured = latents.reconstruction(folder)
    if config.text is not None:
        fitted = beside.captions if beside is not None else None
        states = texts.encoded(data.captions, config.text, device=device, say=say, fitted=fitted)
        companions |= states.files
        facts["text_encoder"] = dict(states.facts)
    return Inputs(
        images=images,
        labels=data.labels,
        states=states.values if states else None,
        null=torch.from_numpy(np.array(states.null)).to(device) if states else None,
        latent=latent,
        text=states.text if states else None,
        companions=companions,
        facts=facts,
        reconstruction=measured,
        weights=data.weights,
    )


def prepare_as(
    manifest: Manifest,
    folder: Path,
    data: Pictures,
    *,
    flip: bool,
    device: torch.device,
    say: Callable[[str], None],
) -> Inputs:
    """Encode a data set by the autoencoder of a checkpoint of ours, for what begins as its network.

    Args:
        folder: the checkpoint's, whose autoencoder goes along.
        flip: whether pictures may be mirrored.

    Raises:
        TrainingError: the cache cannot be written.
    """
    latent = manifest.latent
    if latent is None:
        return Inputs(images=data.images, labels=data.labels, weights=data.weights)
    vae = folder / AUTOENCODER
    found = latents.encoded(data, vae, flip=flip, device=device, say=say, scale=latent.scale)
    return Inputs(
        images=found.values,
        labels=data.labels,
        latent=latent,
        companions=autoencoder_files(vae),
        facts={"autoencoder": file_sha256(vae / AUTOENCODER_WEIGHTS)},
        reconstruction=manifest.training.get("reconstruction", {}),
        weights=data.weights,
    )


def _latent_shape(config: Config) -> tuple[int, int, int] | None:
    """(channels, height, width) of the latents."""
    if config.latent is None:
        return None
    try:
        words = read_config(Path(config.latent.autoencoder))
    except AutoencoderError as error:
        raise TrainingError(f"[latent] {error}") from error
    widths = words.get("encoder_block_out_channels") or words.get("block_out_channels") or [0]
    factor, (height, width) = 2 ** (len(widths) - 1), config.data.size
    if height % factor or width % factor:
        raise TrainingError(
            f"data.size = {[height, width]} is not divisible by {factor}, the factor of the "
            f"autoencoder in {config.latent.autoencoder}"
        )
    if words.get("in_channels", 3) != config.data.channels:
        raise TrainingError(
            f"the autoencoder in {config.latent.autoencoder} is for {words.get('in_channels', 3)} "
            f"channels; data.channels = {config.data.channels}"
        )
    return int(words.get("latent_channels", 4)), height // factor, width // factor


def _width(config: Config) -> int:
    """Channels of the text states."""
    assert config.text is not None
    folder = texts.folders(config.text)[0]
    try:
        return int(json.loads((folder / CONFIG).read_bytes())["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"[text] encoder = {config.text.encoder!r} is no text encoder's folder ({error!r}); "
            "give one as transformers writes it"
        ) from error
