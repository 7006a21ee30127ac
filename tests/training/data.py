"""A small labelled data set in MNIST's format: circles, squares and crosses, a little noisy."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIZE = 8
NAMES = ("Circle", "Square", "Cross")


def pictures(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    shapes = [
        np.hypot(x, y) < 3,
        np.maximum(abs(x), abs(y)) < 2,
        np.minimum(abs(x), abs(y)) < 1,
    ]
    labels = random.integers(0, 3, count).astype(np.uint8)
    clean = np.stack([shapes[label] * 220 for label in labels])
    return (clean + random.integers(0, 30, clean.shape)).astype(np.uint8), labels


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.tobytes()


def write_idx(folder: Path, *, train: int = 96, test: int = 30, zipped: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count, seed in (("train", train, 0), ("t10k", test, 1)):
        images, labels = pictures(count, seed)
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            if zipped:
                (folder / f"{prefix}-{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / f"{prefix}-{name}").write_bytes(data)
    return folder


CONFIG = """
[data]
size = [8, 8]
channels = 1
class_names = ["Circle", "Square", "Cross"]

[network]
base = 8
multipliers = [1, 2]
blocks_per_level = 1
attention = [4]
norm_groups = 4
dropout = 0.1

[diffusion]
schedule = "cosine"
timesteps = 100
prediction = "v"

[train]
steps = 12
batch_size = 16
learning_rate = 2e-3
warmup_steps = 3
report_every = 6
save_every = 4
bf16 = false

[publish]
steps = 5
guidance_scale = 1.5
keep = 2
keep_minutes = 0
"""
