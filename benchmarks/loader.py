"""Pictures per second from the decoded cache to the device, shuffled and flipped.

    python -m benchmarks.loader [--pictures 50000] [--size 32] [--batch 256]

Random pictures are written as the cache has them, mapped, and read by the loop's own loader: gather
in another thread, pinned memory and an asynchronous copy on CUDA. Flips and the conversion to
floats follow on the device, as in training. One H200 trains on some 10,000 pictures of 32x32 a
second; a loader below that would starve it.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe, pick_device, settle
from training.encoding.inputs import Inputs
from training.run.loader import Loader


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    device = pick_device()
    shape = (arguments.pictures, 3, arguments.size, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(images), 10_000):
            part = images[start : start + 10_000]
            part[...] = np.random.default_rng(start).integers(0, 256, part.shape, np.uint8)
        data = Inputs(np.load(path, mmap_mode="r"), np.zeros(len(images), np.int64))
        loader = Loader(
            data, batch_size=arguments.batch, seed=0, device=device, rows=slice(arguments.batch)
        )
        for step in range(20):
            loader.batch(step)
        settle(device)
        began = time.perf_counter()
        for step in range(20, 20 + arguments.steps):
            pixels, _ = loader.batch(step)
            flipped = torch.rand(len(pixels), device=device)[:, None, None, None] < 0.5
            x_0 = pixels.float() / 127.5 - 1
            torch.where(flipped, x_0.flip(-1), x_0)
        settle(device)
        seconds = time.perf_counter() - began
        loader.close()
    print(describe())
    print(
        f"{arguments.steps * arguments.batch / seconds:,.0f} pictures/s of {arguments.size}x"
        f"{arguments.size} RGB on {device.type}, batch {arguments.batch}, {arguments.pictures:,} "
        "pictures shuffled, flipped, as floats"
    )


if __name__ == "__main__":
    main()
