"""The pictures that a request begins from, as the engine wants them: tensors, where its rows are.

The API has fitted them to the model already. Where rows are latents they are encoded, apart from
the threads that draw and that talk to Redis, each alone: so its bits depend on no other.

Shapes: pictures are (H, W, C) uint8; tensors (C, H, W).
"""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models.start import Known
from wire.images import InputFiles
from wire.schemas import ResolvedRequest
from worker.engine.weights import Weights
from worker.engine.work import Paste, Pixels

_SEAM = 8  # pixels from what is drawn to where all is kept, where rows are latents


class BadInput(Exception):
    """A stored input that these weights cannot begin from."""


@dataclass(frozen=True)
class Begun:
    """What a work begins from, as `worker.engine.work.Work` has it."""

    known: Known | None = None
    paste: Paste | None = None


def from_noise() -> Future[Begun]:
    """What most requests begin from, there at once."""
    here: Future[Begun] = Future()
    here.set_result(Begun())
    return here


class Inputs:
    """Reads inputs in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inputs")

    def begin(
        self, files: InputFiles | None, request: ResolvedRequest, weights: Weights
    ) -> Future[Begun]:
        """What a request begins from; or, when asked for, what went wrong."""
        if files is None:
            return from_noise()
        return self._thread.submit(begun, files, weights, strength=request.strength)


@torch.inference_mode()
def begun(files: InputFiles, weights: Weights, *, strength: float) -> Begun:
    """The same at once.

    Args:
        strength: at 0 all is kept: the picture itself is what is drawn.

    Raises:
        BadInput: not what the API has written, or of another size than the weights draw.
    """
    pixels = _read(files.init)
    kept = None if files.mask is None else _read(files.mask)[..., 0] == 0
    if strength == 0:
        kept = np.ones(pixels.shape[:2], bool)
    if kept is not None and kept.shape != pixels.shape[:2]:
        raise BadInput("the mask is of another size than the picture")
    picture = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    mask = None if kept is None else torch.from_numpy(kept)[None]
    if weights.encode is None:
        x_0, paste = picture.to(weights.device), None
    else:
        x_0 = weights.encode(picture[None].to(weights.device))[0].float()
        paste = None if mask is None else Paste(pixels, _share(mask))
        mask = None if mask is None else _shrunk(mask, x_0)
    if x_0.shape != weights.shape:
        raise BadInput(f"a picture of {pixels.shape} is none that {weights.version} could draw")
    kept_there = None if mask is None else mask.to(weights.device)
    return Begun(Known(x_0, kept_there, begins=strength < 1), paste)


def _read(data: bytes) -> Pixels:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            pixels: Pixels = np.array(image, dtype=np.uint8)
    except Exception as error:  # Pillow's decoders raise whatever the bytes provoke
        raise BadInput(f"a stored picture cannot be decoded ({error})") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _shrunk(kept: Tensor, latents: Tensor) -> Tensor:
    """Latents that stand for kept pixels only."""
    height, width = kept.shape[1] // latents.shape[1], kept.shape[2] // latents.shape[2]
    return F.max_pool2d((~kept).float(), (height, width)) == 0


def _share(kept: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """How much of each kept pixel is seen, (H, W, 1): all, but less towards what is drawn."""
    drawn = (~kept).float()
    share = torch.zeros_like(drawn)
    for _ in range(_SEAM):
        share += (1 - drawn) / _SEAM
        drawn = F.max_pool2d(drawn, 3, stride=1, padding=1)
    return share[0, ..., None].numpy()
