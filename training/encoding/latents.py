"""Pictures as an autoencoder's latents: encoded once, mapped from disk from then on.

    <cache>/latents/<key>/latents.npy   (N, M, c, h, w) float16, scaled to unit variance
    <cache>/latents/<key>/facts.json    the scale, and the linear preview

M is 2 where pictures may be mirrored: a mirrored picture's latents are not the mirrored latents.
The key covers everything that they depend on. All of it may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.autoencoder import Autoencoder, AutoencoderError, fit_preview, load_autoencoder
from models.checkpoint import file_sha256
from models.companions import AUTOENCODER_WEIGHTS, CONFIG, Latent
from training.errors import TrainingError
from training.pictures.cache import cache_folder, fresh_folder, reserve
from training.pictures.data import Pictures

_VERSION = 1
_BATCH = 64
_MEASURED = 1024  # pictures that the scale and the preview are measured on


REPORT = "report.json"  # beside an autoencoder of ours: how well it was measured to reconstruct


@dataclass(frozen=True)
class Latents:
    """A data set's latents, and what the manifest says of them."""

    values: npt.NDArray[np.float16]
    latent: Latent


def open_autoencoder(folder: Path, *, device: torch.device) -> Autoencoder:
    """An autoencoder, not scaled yet; TrainingError when it cannot be used."""
    try:
        return load_autoencoder(folder, device=device)
    except AutoencoderError as error:
        raise TrainingError(str(error)) from error


def reconstruction(folder: Path) -> dict[str, Any]:
    """PSNR in dB, and on how many unseen pictures; nothing where its training did not say."""
    try:
        facts = json.loads((folder / REPORT).read_bytes())
        return {"psnr": float(facts["psnr"]), "pictures": int(facts["judged"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # any autoencoder's folder will do, and another's file may have this name


def encoded(
    data: Pictures,
    folder: Path,
    *,
    flip: bool,
    device: torch.device,
    say: Callable[[str], None],
    scale: float | None = None,
) -> Latents:
    """The pictures' latents, encoded now if they are not in the cache.

    Args:
        scale: of other pictures' latents, beside which these stand; None: their own.

    Raises:
        TrainingError: the autoencoder cannot be used, or the cache cannot be written.
    """
    digests = [file_sha256(folder / name) for name in (CONFIG, AUTOENCODER_WEIGHTS)]
    text = f"{_VERSION} {data.fingerprint} {flip} {' '.join(digests)}"
    parent = cache_folder() / "latents"
    key = _key(text)
    try:
        if scale is not None and _scale(parent / key) != scale:
            key = _key(f"{text} {scale}")
        if not (parent / key).is_dir():
            parent.mkdir(parents=True, exist_ok=True)
            say(f"encoding {len(data)} pictures (once, cached in {parent})")
            autoencoder = open_autoencoder(folder, device=device)
            with fresh_folder(parent, key) as fresh:
                _encode_all(data, autoencoder, fresh, flip=flip, device=device, scale=scale)
        facts = json.loads((parent / key / "facts.json").read_bytes())
        values = np.load(parent / key / "latents.npy", mmap_mode="r")
    except OSError as error:
        raise TrainingError(
            f"the latents cannot be kept in {parent}: {error}; free some space, or set "
            "XDG_CACHE_HOME to a folder that has it"
        ) from error
    _, channels, height, width = data.images.shape
    latent = Latent(
        size=(height, width),
        channels=channels,
        scale=facts["scale"],
        preview=tuple(facts["preview"]),
    )
    return Latents(values, latent)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _scale(folder: Path) -> float | None:
    """What the latents in the cache are multiplied by; None: there are none."""
    facts = folder / "facts.json"
    return float(json.loads(facts.read_bytes())["scale"]) if facts.is_file() else None


def _encode_all(
    data: Pictures,
    autoencoder: Autoencoder,
    fresh: Path,
    *,
    flip: bool,
    device: torch.device,
    scale: float | None,
) -> None:
    def encode(pixels: npt.NDArray[np.uint8]) -> Tensor:
        x = torch.from_numpy(np.array(pixels)).to(device).float() / 127.5 - 1
        both = [x, x.flip(-1)] if flip else [x]
        return torch.stack([autoencoder.encode(one) for one in both], dim=1).cpu()

    count = len(data)
    some = np.linspace(0, count - 1, min(count, _MEASURED)).astype(np.int64)
    pixels = data.images[some]
    measured = torch.cat(
        [encode(pixels[i : i + _BATCH])[:, 0] for i in range(0, len(some), _BATCH)]
    )
    if not bool(torch.isfinite(measured).all()) or float(measured.std()) == 0:
        raise TrainingError("the autoencoder's latents are no numbers, or all the same")
    autoencoder.scale = scale or 1 / float(measured.std())
    preview = fit_preview(
        measured * autoencoder.scale, torch.from_numpy(pixels).float() / 127.5 - 1
    )
    shape = (count, 2 if flip else 1, *measured.shape[1:])
    path = fresh / "latents.npy"
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    reserve(path)
    for start in range(0, count, _BATCH):
        values[start : start + _BATCH] = encode(data.images[start : start + _BATCH]).numpy()
    values.flush()
    facts = {"scale": autoencoder.scale, "preview": preview}
    (fresh / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
