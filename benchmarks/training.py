"""Pictures per second of our training loop against two that people use, in one run.

    python -m benchmarks.training [--precision fp32|bf16] [--rounds 5] [--steps 20]

1. `python -m training`'s loop on a network of ours.
2. diffusers' UNet2DModel, the same network layer by layer, in a plain loop as its examples have it
   (DDPMScheduler, AdamW, clipping, EMAModel, a DataLoader of torchvision's ImageFolder).
3. denoising-diffusion-pytorch's own Trainer, its Unet widened to the same number of parameters.

All see the same folder of PNGs at the same batch, precision, flips and thread count, each in a
process of its own that waits while another is timed; rounds alternate. The peers live in an
environment of their own, made on first use beside ours (`.venv-peers`) on the same torch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe
from benchmarks.peers import peers_python
from models.arithmetic import computes_bfloat16
from models.memory import keep_freed_memory
from training.config import load_config
from training.pictures.data import load_pictures
from training.run.learner import Learner
from training.run.lesson import denoising
from training.run.team import Team

SIZE = 32
PICTURES = 2048
PEERS = ("diffusers", "denoising-diffusion-pytorch")
CONFIG = """
[data]
size = [{size}, {size}]
channels = 3
flip = true
[network]
base = {base}
multipliers = [1, 2, 2]
attention = [16]
[diffusion]
schedule = "linear"
timesteps = 1000
prediction = "eps"
[train]
steps = 100_000
batch_size = {batch}
ema_decay = 0.995
bf16 = {bf16}
compile = {compile}
"""


class Contender:
    """A process that trains when told to and waits otherwise."""

    def __init__(self, python: Path, module: str, name: str, arguments: argparse.Namespace) -> None:
        options = [f"--{key}={getattr(arguments, key)}" for key in ("batch", "base", "threads")]
        options += [f"--precision={arguments.precision}", f"--folder={arguments.folder}"]
        options += ["--compile"] if arguments.compile else []
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(arguments.threads),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTHONWARNINGS": "ignore",
            "XDG_CACHE_HOME": str(Path(arguments.folder).parents[1] / "cache"),
            "TQDM_DISABLE": "1",
        }
        self.name = name
        self._process = subprocess.Popen(
            [python, "-m", module, "--contender", name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.parameters = int(self._answer()["parameters"])

    def seconds(self, steps: int) -> float:
        """Train for some steps and say how long it took."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        return float(self._answer()["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self.name} ended with code {self._process.wait()}; its reason is above")


def ours(arguments: argparse.Namespace) -> None:
    """Our loop, in this process: train when a number of steps comes in, and time it."""
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as the train command does
    path = Path(arguments.folder).parents[1] / "ours.toml"
    path.write_text(
        CONFIG.format(
            size=SIZE,
            base=arguments.base,
            batch=arguments.batch,
            bf16=str(arguments.precision == "bf16").lower(),
            compile=str(arguments.compile).lower(),
        )
    )
    config = load_config(path)
    data = load_pictures(Path(arguments.folder), size=(SIZE, SIZE), channels=3)
    cpu = torch.device("cpu")
    learner = Learner(config, data, denoising(config, data, cpu), device=cpu, team=Team())
    print(json.dumps({"parameters": sum(p.numel() for p in learner.network.parameters())}))
    sys.stdout.flush()
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            loss = learner.advance().loss
        float(loss)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    learner.close()


def write_pictures(folder: Path) -> None:
    """Random pictures; what they show does not matter to anybody's speed."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(PICTURES):
        pixels = random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:04d}.png")


def main() -> None:
    """Print a row per contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps per round")
    parser.add_argument("--batch", type=int, default=16, help="both peers' default")
    parser.add_argument("--base", type=int, default=32, help="channels of the finest level")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="train.compile = true for ours")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.precision == "bf16" and not computes_bfloat16(torch.device("cpu")):
        raise SystemExit("this processor does not compute in bfloat16; compare in fp32")
    if arguments.contender:
        ours(arguments)
        return
    python = peers_python("torchvision", "denoising-diffusion-pytorch")
    print(f"{describe()}; {arguments.threads} torch threads")
    with tempfile.TemporaryDirectory() as work:
        arguments.folder = str(Path(work) / "data" / "pictures")  # ImageFolder wants a class
        write_pictures(Path(arguments.folder))
        modules = [("emaki", Path(sys.executable), "benchmarks.training")]
        modules += [(name, python, "benchmarks.training_peers") for name in PEERS]
        contenders = [Contender(p, module, name, arguments) for name, p, module in modules]
        times = measure(contenders, arguments)
    compiled = ", ours compiled" if arguments.compile else ""
    print(
        f"{SIZE}x{SIZE} RGB, batch {arguments.batch}, {arguments.precision}{compiled}, "
        f"{arguments.rounds} rounds of {arguments.steps} steps, medians\n\n"
        "| loop | parameters | pictures/s | ours is faster by |\n|---|---|---|---|"
    )
    for contender in contenders:
        rates = [arguments.steps * arguments.batch / s for s in times[contender.name]]
        # Paired: each round's quotient, so that a slow minute weighs on both.
        pairs = zip(times[contender.name], times["emaki"], strict=True)
        print(
            f"| {contender.name} | {contender.parameters / 1e6:.2f} M | "
            f"{statistics.median(rates):.1f} | {statistics.median(t / o for t, o in pairs):.2f} |"
        )


def measure(contenders: list[Contender], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each contender's rounds; the order turns from round to round."""
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    try:
        for contender in contenders:
            contender.seconds(3)
        for turn in range(arguments.rounds):
            shift = turn % len(contenders)
            for contender in contenders[shift:] + contenders[:shift]:
                times[contender.name].append(contender.seconds(arguments.steps))
    finally:
        for contender in contenders:
            contender.__exit__(None, None, None)
    return times


if __name__ == "__main__":
    main()
