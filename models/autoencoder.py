"""Pictures to latents and back: diffusers' AutoencoderKL or AutoencoderTiny, from a folder.

diffusers is imported here alone, when an autoencoder is loaded (the extra `text`). Only
safetensors are read, and nothing of a folder is run. Knows nothing of manifests or engines.

Shapes: B pictures of (C, H, W) in [-1, 1]; latents (B, c, H / f, W / f), scaled.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.companions import AUTOENCODER_WEIGHTS, CONFIG

KINDS = ("AutoencoderKL", "AutoencoderTiny")
# What an autoencoder may do besides, which nobody here does: its value that means "not".
_UNUSED = {"shift_factor": 0, "latents_mean": None, "latents_std": None, "latent_shift": 0.5}


class AutoencoderError(Exception):
    """A folder's autoencoder cannot be used; the message says why and what to do."""


class Autoencoder:
    """An autoencoder in eval mode.

    Attributes:
        network: diffusers' module.
        scale: what latents are multiplied by after encoding.
        channels: of the latents.
        picture_channels: of the pictures.
        factor: picture pixels per latent, along each side.
    """

    def __init__(self, network: Any, *, scale: float = 1.0) -> None:
        self.network, self.scale = network.eval().requires_grad_(requires_grad=False), scale
        config = network.config
        self.channels: int = config.latent_channels
        self.picture_channels: int = config.in_channels
        self.factor: int = 2 ** (len(_widths(config)) - 1)

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """Scaled latents (B, c, h, w) float32: of AutoencoderKL, the most likely ones."""
        encoded = self.network.encode(pictures.to(self._weight))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return self.scale * _float(latents)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, C, H, W) float32 in [-1, 1] from scaled latents."""
        decoded = self.network.decode((latents / self.scale).to(self._weight)).sample
        return _float(decoded).clamp(-1, 1)

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = next(self.network.parameters())
        return weight


def load_autoencoder(
    folder: Path, *, scale: float = 1.0, device: str | torch.device = "cpu"
) -> Autoencoder:
    """An autoencoder from a folder that diffusers could read, in float32.

    Raises:
        AutoencoderError: no such folder, another architecture, damaged or incomplete weights, or
            diffusers is not installed.
    """
    config = read_config(folder)
    if not (folder / AUTOENCODER_WEIGHTS).is_file():
        raise AutoencoderError(
            f"{folder} has no {AUTOENCODER_WEIGHTS}; only whole safetensors are read: write it "
            f"again with save_pretrained where you trust it"
        )
    try:
        import diffusers
    except ImportError as error:
        raise AutoencoderError(
            "autoencoders need diffusers; install it: pip install diffusers"
        ) from error
    try:
        with _quiet(diffusers):
            network, info = getattr(diffusers, config["_class_name"]).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                low_cpu_mem_usage=False,
                output_loading_info=True,
                torch_dtype=torch.float32,
            )
    except Exception as error:  # diffusers raises whatever the files provoke
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AutoencoderError(f"the autoencoder in {folder} cannot be read: {lines[0]}") from error
    if info["missing_keys"]:
        raise AutoencoderError(
            f"{folder / AUTOENCODER_WEIGHTS} lacks tensor {min(info['missing_keys'])}; fetch it "
            "again"
        )
    return Autoencoder(network.to(device), scale=scale)


def new_autoencoder(words: Mapping[str, Any]) -> Any:
    """A network with random weights, of a ``config.json``'s description.

    Raises:
        AutoencoderError: diffusers is not installed, or does not take the description.
    """
    try:
        import diffusers
    except ImportError as error:
        raise AutoencoderError(
            "autoencoders need diffusers; install it: pip install diffusers"
        ) from error
    plain = {name: value for name, value in words.items() if not name.startswith("_")}
    try:
        return getattr(diffusers, words["_class_name"])(**plain)
    except (ValueError, TypeError, RuntimeError) as error:
        raise AutoencoderError(f"{words['_class_name']}: {error}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """An autoencoder's ``config.json``, of an architecture that is known here.

    Raises:
        AutoencoderError: it is missing, damaged or of another architecture.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AutoencoderError(
            f"{folder / CONFIG} is no autoencoder's description: {error}; give the folder of a "
            "VAE as diffusers writes it"
        ) from error
    kind = config.get("_class_name") if isinstance(config, dict) else None
    if kind not in KINDS:
        raise AutoencoderError(
            f"{folder / CONFIG}: _class_name = {kind!r} is not supported; supported: "
            f"{', '.join(KINDS)}"
        )
    for name, unused in _UNUSED.items():
        if config.get(name) not in (None, unused):
            raise AutoencoderError(f"{folder / CONFIG}: {name} = {config[name]} is not supported")
    return dict(config)


def fit_preview(latents: Tensor, pictures: Tensor) -> tuple[float, ...]:
    """The linear map from latents to pixels with the least squared error.

    Args:
        latents: (N, c, h, w), scaled.
        pictures: (N, C, H, W) in [-1, 1] that they stand for.

    Returns:
        As `models.companions.Latent.preview` has it.
    """
    height, width = latents.shape[-2:]
    small = F.adaptive_avg_pool2d(pictures.double(), (height, width))
    positions = latents.double().movedim(1, -1).flatten(0, -2)
    inputs = torch.cat([positions, torch.ones_like(positions[:, :1])], dim=1)
    wanted = small.movedim(1, -1).flatten(0, -2)
    # A little ridge: latents may be fewer than their channels, or a channel constant.
    square = inputs.T @ inputs + 1e-6 * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(square, inputs.T @ wanted)
    return tuple(round(value, 6) for value in weights.T.flatten().tolist())


def preview(latents: Tensor, weights: Sequence[float]) -> Tensor:
    """A guess at the pictures of latents (B, c, h, w), at their size: (B, C, h, w) in [-1, 1]."""
    c = latents.shape[1]
    table = torch.tensor(weights, dtype=torch.float32, device=latents.device).view(-1, c + 1)
    pixels = torch.einsum("pc,bchw->bphw", table[:, :c], latents.float())
    return (pixels + table[:, c, None, None]).clamp(-1, 1)


def smooth_latents(count: int, channels: int, side: int) -> Tensor:
    """Random latents (count, channels, side, side) as a picture's might be, to fit a preview on."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(
        count, channels, math.ceil(side / 4), math.ceil(side / 4), generator=generator
    )
    return F.interpolate(coarse, size=(side, side), mode="bilinear")


def _widths(config: Any) -> Sequence[int]:
    """The width of each level of an autoencoder."""
    widths = getattr(config, "encoder_block_out_channels", None)
    return tuple(config.block_out_channels if widths is None else widths)


def _float(output: Tensor) -> Tensor:
    return output.float()


@contextmanager
def _quiet(diffusers: Any) -> Iterator[None]:
    """No warning of options that the library has written itself."""
    logging = diffusers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
