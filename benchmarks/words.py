"""What words cost: a step of a text model's network, and of the same network without text.

    python -m benchmarks.words [checkpoints/emoji-64] [--rows 8] [--rounds 40]

One core; the two take turns, and the ratio is the median of the turns' own.
"""

import os

# Read when torch loads its OpenMP: as a worker waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import describe
from models import load_model
from models.arithmetic import computes_bfloat16
from models.memory import keep_freed_memory
from models.unet import UNet


@torch.inference_mode()
def seconds(network: UNet, rows: int, tokens: int) -> float:
    """What one prediction of so many rows takes."""
    config = network.config
    dtype = next(network.parameters()).dtype
    x = torch.randn(rows, config.channels, *config.size).to(dtype)
    text = config.text
    words = None
    if text is not None:  # as the server keeps it for all steps of a run
        words = torch.stack([network.listen(torch.randn(tokens, text.width)) for _ in range(rows)])
    began = time.perf_counter()
    network(x, torch.full((rows,), 500), words)
    return time.perf_counter() - began


def main() -> None:
    """Print milliseconds and ratio in the types that this processor computes in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=Path("checkpoints/emoji-64"))
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a worker does
    print(describe(), flush=True)
    cpu = torch.device("cpu")
    for dtype in (torch.float32, *([torch.bfloat16] if computes_bfloat16(cpu) else [])):
        model = load_model(arguments.model, device=cpu, dtype=dtype)
        if model.manifest.text is None:
            raise SystemExit(f"{arguments.model} does not draw from words; name one that does")
        spoken, share = model.network, (arguments.rows, model.manifest.text.tokens)
        silent = UNet(replace(spoken.config, text=None)).to(dtype).eval()
        turns = [
            (seconds(spoken, *share), seconds(silent, *share)) for _ in range(arguments.rounds)
        ][2:]  # the first ones warm up
        ratio = statistics.median(one / other for one, other in turns)
        with_words, without = (
            1000 * statistics.median(times) for times in zip(*turns, strict=True)
        )
        print(f"{dtype}: {with_words:.1f} ms with words, {without:.1f} without: {ratio:.2f}")


if __name__ == "__main__":
    main()
