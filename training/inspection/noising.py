"""The forward process of one picture (Ho et al. 2020, Eq. 4) as a strip of frames.

Shapes: pictures (1, C, H, W) in [-1, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from models.noise import normal
from models.sample import to_uint8
from models.schedule import Schedule
from training.errors import TrainingError
from training.inspection.schedules import snr_in_db
from training.pictures.decode import Unreadable, decode_whole

_SCALE = 2  # for dense screens
_FRAME = 132  # a frame's longer side in a strip is enlarged to at least this
_LARGEST = 256  # pixels of a picture's longer side
_CAPTION = 38


@dataclass(frozen=True)
class Frame:
    """x_t of one picture at one timestep."""

    t: int
    alpha_bar: float
    snr_db: float
    x_t: Tensor


def noise_picture(picture: Tensor, schedule: Schedule, *, frames: int, seed: int) -> list[Frame]:
    """Frames from t = 0 to T - 1, evenly spaced, all with the same noise.

    Raises:
        TrainingError: fewer than 2 frames, or more than there are timesteps.
    """
    last = schedule.timesteps - 1
    if not 2 <= frames <= schedule.timesteps:
        raise TrainingError(f"--frames {frames} is not in 2 ... T = {schedule.timesteps}")
    _, channels, height, width = picture.shape
    noise = normal(torch.tensor([seed]), torch.tensor([0]), (channels, height, width))
    decibels = snr_in_db(schedule)
    found = []
    for t in (round(i * last / (frames - 1)) for i in range(frames)):
        x_t = float(schedule.alphas[t]) * picture + float(schedule.sigmas[t]) * noise
        found.append(Frame(t, float(schedule.alpha_bar[t]), float(decibels[t]), x_t))
    return found


def read_picture(path: Path) -> Tensor:
    """A picture file as grey or RGB, made smaller where a side exceeds 256 pixels.

    Raises:
        TrainingError: it cannot be read.
    """
    try:
        image = decode_whole(path.read_bytes())
    except (OSError, Unreadable) as error:
        raise TrainingError(f"picture {path} cannot be read: {error}") from error
    image.thumbnail((_LARGEST, _LARGEST))
    pixels = np.atleast_3d(np.asarray(image, np.float32) / 127.5 - 1)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def to_json(name: str, timesteps: int, frames: list[Frame]) -> dict[str, Any]:
    """Plain data: what each frame is."""
    rows = [{"t": f.t, "alpha_bar": f.alpha_bar, "snr_db": f.snr_db} for f in frames]
    return {"schedule": name, "timesteps": timesteps, "frames": rows}


def to_table(frames: list[Frame]) -> str:
    """What each frame is, for people."""
    lines = [f"{'t':>6} {'alpha_bar':>11} {'SNR dB':>8}"]
    lines += [f"{f.t:>6} {f.alpha_bar:>11.5g} {f.snr_db:>8.2f}" for f in frames]
    return "\n".join(lines)


def to_strip(title: str, frames: list[Frame]) -> Image.Image:
    """The frames left to right with their captions; x_t beyond the pixel range is clamped."""
    height, width = frames[0].x_t.shape[-2:]
    zoom = max(1, -(-_FRAME * _SCALE // max(height, width)))
    gap, head = 6 * _SCALE, 34 * _SCALE
    step = max(width * zoom, 84 * _SCALE) + gap
    size = (gap + step * len(frames), head + height * zoom + _CAPTION * _SCALE)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, 10 * _SCALE), title, "#222222", _font(15 * _SCALE), "la")
    for index, frame in enumerate(frames):
        pixels = to_uint8(frame.x_t)[0].permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
        left = gap + index * step
        enlarged = (width * zoom, height * zoom)
        sheet.paste(image.resize(enlarged, Image.Resampling.NEAREST), (left, head))
        top = head + height * zoom + 4 * _SCALE
        words = f"t = {frame.t}\n{frame.snr_db:.1f} dB"
        draw.multiline_text((left, top), words, "#222222", _font(11 * _SCALE), "la")
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface, so that a strip looks the same on every machine."""
    return ImageFont.load_default(size)
