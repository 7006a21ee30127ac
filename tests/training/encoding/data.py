"""Coloured squares with captions, in Hugging Face's layout, and runs that train on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.companions import write_bert
from training.config import load_config
from training.pictures.data import load_pictures
from training.run.lesson import denoising
from training.run.loop import Trainer

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
CONFIG = """
[data]
size = [8, 8]
channels = 3

[text]
encoder = "{encoder}"
tokens = 8
caption = "a {{text}} square"

[network]
base = 16
multipliers = [1, 2]
blocks_per_level = 1
attention = [4]
norm_groups = 8

[diffusion]
schedule = "cosine"
timesteps = 100
prediction = "v"

[train]
steps = 250
batch_size = 16
learning_rate = 3e-3
warmup_steps = 10
ema_decay = 0.98
report_every = 1000
save_every = 1000
bf16 = false

[publish]
steps = 8
guidance_scale = 1.5
"""


def write_squares(folder: Path, *, count: int = 64, size: int = 8) -> Path:
    """Squares of two colours on grey, each a little elsewhere; half of them red."""
    folder.mkdir(parents=True)
    random, lines = np.random.default_rng(0), []
    for index in range(count):
        name = list(COLOURS)[index % 2]
        pixels = np.full((size, size, 3), 128, np.uint8)
        top, left = random.integers(1, size // 2, 2)
        pixels[top : top + size // 2, left : left + size // 2] = COLOURS[name]
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "text": name, "number": index}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def trainer(tmp_path: Path, *overrides: str, out: str = "out", encoder: Any = None) -> Trainer:
    """A run on coloured squares; a random BERT tells the colours."""
    encoder = encoder or write_bert(tmp_path / "bert")
    path = tmp_path / "squares.toml"
    path.write_text(CONFIG.format(encoder=encoder))
    folder = tmp_path / "squares"
    if not folder.exists():
        write_squares(folder)
    config = load_config(path, overrides=overrides)
    data = load_pictures(
        folder,
        size=config.data.size,
        channels=3,
        caption=config.text.caption if config.text else None,
        hold_out=0,
        quiet=True,
    )
    device = torch.device("cpu")
    lesson = denoising(config, data, device)
    return Trainer(config, data, lesson, out=tmp_path / out, device=device, commit="unknown")
