"""What a checkpoint holds besides its network, loaded and held against the manifest."""

from pathlib import Path

import torch

from models.autoencoder import Autoencoder, AutoencoderError, load_autoencoder
from models.companions import AUTOENCODER, locate
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


def find(folder: Path, name: str) -> Path:
    """Where a file or folder that a manifest names is; CheckpointError when nowhere."""
    try:
        return locate(folder, name)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error
