"""What a checkpoint holds besides its network, loaded and held against the manifest."""

from pathlib import Path

import torch

from models.autoencoder import Autoencoder, AutoencoderError, load_autoencoder
from models.companions import (
    AUTOENCODER,
    autoencoder_files,
    encoder_files,
    locate,
    tokenizer_files,
)
from models.encoder import EncoderError, TextEncoder, TextError, load_encoder
from models.manifest import CheckpointError, Manifest


def load_companions(
    folder: Path, manifest: Manifest, device: str | torch.device
) -> tuple[Autoencoder | None, TextEncoder | None]:
    """The autoencoder and the text encoder that a manifest names; None where it names none.

    Raises:
        CheckpointError: one of them cannot be loaded, or is not what the manifest says.
    """
    latent, text, network = manifest.latent, manifest.text, manifest.network
    autoencoder, encoder = None, None
    _require_recorded(folder, manifest)
    try:
        if latent is not None:
            autoencoder = load_autoencoder(folder / AUTOENCODER, scale=latent.scale, device=device)
            ours = (autoencoder.channels, autoencoder.picture_channels, autoencoder.factor)
            wanted = (network.channels, latent.channels, latent.size[0] // network.size[0])
            if ours != wanted:
                raise AutoencoderError(
                    f"{folder / AUTOENCODER} makes {ours[0]} channels of {ours[1]} at 1/{ours[2]} "
                    f"of the size; the manifest says {wanted[0]} of {wanted[1]} at 1/{wanted[2]}"
                )
        if text is not None and network.text is not None:
            encoder = load_encoder(
                find(folder, text.encoder),
                find(folder, text.tokenizer),
                tokens=text.tokens,
                device=device,
            )
            if encoder.width != network.text.width:
                raise EncoderError(
                    f"{find(folder, text.encoder)} gives {encoder.width} channels; the network "
                    f"takes {network.text.width}"
                )
            encoder.encode("")  # what is drawn without words: it must be numbers
    except (AutoencoderError, EncoderError) as error:
        raise CheckpointError(str(error)) from error
    except TextError as error:
        raise CheckpointError(f"{folder}: {error}; fetch its encoder again") from error
    return autoencoder, encoder


def _require_recorded(folder: Path, manifest: Manifest) -> None:
    """Nothing is read whose digest was not compared."""
    read: dict[str, Path] = {}
    if manifest.latent is not None:
        read |= autoencoder_files(folder / AUTOENCODER)
    if (text := manifest.text) is not None:
        read |= encoder_files(find(folder, text.encoder), name=text.encoder)
        read |= tokenizer_files(find(folder, text.tokenizer), name=text.tokenizer)
    for name, path in read.items():
        if name not in manifest.files and path.is_file():
            raise CheckpointError(
                f"{folder}: the manifest has no digest of {name}; write the checkpoint again"
            )


def find(folder: Path, name: str) -> Path:
    """Where a file or folder that a manifest names is; CheckpointError when nowhere."""
    try:
        return locate(folder, name)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error
