"""What a teacher draws by itself, for a student that learns to tell it from real pictures.

    <cache>/drawings/<key>/drawn.npy   (N, C, H, W) uint8 pixels, or float16 latents

The key covers everything that they depend on. All of it may be deleted at any time.
"""

import hashlib
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.arithmetic import computes_bfloat16, in_bfloat16
from models.checkpoint import WEIGHTS
from models.sample import draw, to_uint8
from training.distillation.options import plain_drawing
from training.distillation.teacher import Teacher
from training.encoding.inputs import Inputs
from training.errors import TrainingError
from training.judging.drawing import class_turns
from training.pictures.cache import cache_folder, fresh_folder

_VERSION = 1
_BATCH = 64
_FIRST_SEED = 1 << 40  # no picture that is judged, or asked for by a small seed, is among them


@dataclass(frozen=True)
class Drawings:
    """A teacher's pictures, not guided: (N, C, H, W) as a network's inputs are, and (N,) classes.

    Attributes:
        labels: what each was drawn as, the null class among them; None: the teacher has no classes.
        key: a digest of all that they depend on.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64] | None
    key: str

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, which: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C, H, W) float32 of these, pixels in [-1, 1], and their (B,) classes."""
        chosen = which.cpu().numpy()
        x_0 = torch.from_numpy(self.images[chosen]).to(which.device)
        labels = None if self.labels is None else torch.from_numpy(self.labels[chosen])
        scaled = x_0.float() / 127.5 - 1 if x_0.dtype == torch.uint8 else x_0.float()
        return scaled, None if labels is None else labels.to(which.device)


def drawings(
    teacher: Teacher,
    inputs: Inputs,
    count: int,
    *,
    unlabelled: float,
    bf16: bool,
    device: torch.device,
) -> Drawings:
    """Pictures of the teacher, by its default sampler and steps, drawn now if none are cached.

    Args:
        inputs: the real ones: classes have their shares.
        unlabelled: share that is drawn as of the null class, where the teacher has one.
        bf16: multiply in bfloat16, where the device computes in it.

    Raises:
        TrainingError: they cannot be kept.
    """
    manifest = teacher.model.manifest
    labels = None
    if manifest.classes:
        labels = class_turns(inputs.labels, count, weights=inputs.weights)
        if manifest.null_class is not None:
            labels[count - round(unlabelled * count) :] = manifest.null_class
    bf16 = bf16 and computes_bfloat16(device)
    text = f"{_VERSION} {manifest.files[WEIGHTS].sha256} {manifest.diffusion} {count} {bf16}"
    text += f" {plain_drawing(manifest)} {manifest.latent is None}"
    asked = b"" if labels is None else labels.tobytes()
    key = hashlib.sha256(text.encode() + asked).hexdigest()[:24]
    parent = cache_folder() / "drawings"
    try:
        if not (parent / key).is_dir():
            parent.mkdir(parents=True, exist_ok=True)
            _say(f"drawing {count} pictures by {manifest.version} (once, cached in {parent})")
            with fresh_folder(parent, key) as fresh, in_bfloat16(device, wanted=bf16):
                np.save(fresh / "drawn.npy", _draw(teacher, labels, count))
        return Drawings(np.load(parent / key / "drawn.npy", mmap_mode="r"), labels, key)
    except OSError as error:
        raise TrainingError(
            f"the drawings cannot be kept in {parent}: {error}; free some space, or set "
            "XDG_CACHE_HOME to a folder that has it"
        ) from error


def _draw(teacher: Teacher, labels: npt.NDArray[np.int64] | None, count: int) -> npt.NDArray[Any]:
    model = teacher.model
    manifest = model.manifest
    table = manifest.build_table(*plain_drawing(manifest))
    parts: list[npt.NDArray[Any]] = []
    began = time.monotonic()
    for rows in torch.split(torch.arange(count), _BATCH):
        x_0 = draw(
            model.network,
            table,
            seeds=_FIRST_SEED + rows,
            labels=None if labels is None else torch.from_numpy(labels)[rows],
            clip=manifest.diffusion.clip,
        )
        kept = to_uint8(x_0) if manifest.latent is None else x_0.to(torch.float16)
        parts.append(kept.cpu().numpy())
        done = int(rows[-1]) + 1
        if done == count or not done % (16 * _BATCH):
            _say(f"drew {done} of {count}, {done / (time.monotonic() - began):.1f} pictures/s")
    return np.concatenate(parts)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
