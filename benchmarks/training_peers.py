"""The other loops of `benchmarks.training`, run in the peers' environment; not for use alone.

Knows nothing of Emaki. Each reads numbers of steps from standard input and answers with seconds.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# torchvision's registry build does not load beside a CPU torch: it registers shapes for kernels
# that are not there. Nothing here needs them.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("empty")

import torch  # noqa: E402

SIZE = 32
Train = Callable[[int], None]


def diffusers_loop(arguments: argparse.Namespace) -> tuple[int, Train]:
    """UNet2DModel in a loop like diffusers' examples/unconditional_image_generation."""
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel
    from torchvision import transforms

    base = arguments.base
    network = UNet2DModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=3,
        block_out_channels=(base, 2 * base, 2 * base),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
    )
    ema = EMAModel(network.parameters(), decay=0.995)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    augment = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    batches = _batches(arguments, augment)
    bf16 = arguments.precision == "bf16"

    def train(steps: int) -> None:
        for _ in range(steps):
            clean = next(batches)
            noise = torch.randn_like(clean)
            t = torch.randint(0, 1000, (len(clean),))
            noisy = scheduler.add_noise(clean, noise, t)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                predicted = network(noisy, t).sample
            loss = torch.nn.functional.mse_loss(predicted.float(), noise)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.step(network.parameters())
            loss.item()  # its progress bar shows each step's

    return sum(p.numel() for p in network.parameters()), train


def lucidrains_trainer(arguments: argparse.Namespace) -> tuple[int, Train]:
    """denoising-diffusion-pytorch's Trainer around the Unet that comes closest in size."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
    from diffusers import UNet2DModel

    base = arguments.base
    wanted = sum(
        p.numel()
        for p in UNet2DModel(
            in_channels=3,
            out_channels=3,
            block_out_channels=(base, 2 * base, 2 * base),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=None,
        ).parameters()
    )

    def build(width: int) -> Any:
        return Unet(dim=width, dim_mults=(1, 2, 2), full_attn=(False, True, False))

    def size(width: int) -> int:
        return sum(p.numel() for p in build(width).parameters())

    network = build(min(range(16, 4 * base, 2), key=lambda width: abs(size(width) - wanted)))
    diffusion = GaussianDiffusion(
        network, image_size=SIZE, timesteps=1000, objective="pred_noise", beta_schedule="linear"
    )
    trainer = Trainer(
        diffusion,
        arguments.folder,
        train_batch_size=arguments.batch,
        train_lr=2e-4,
        train_num_steps=0,
        ema_decay=0.995,
        amp=arguments.precision == "bf16",
        mixed_precision_type="bf16",
        calculate_fid=False,
        save_and_sample_every=10**9,
        results_folder=tempfile.mkdtemp(),
    )

    def train(steps: int) -> None:
        trainer.train_num_steps = trainer.step + steps
        with contextlib.redirect_stdout(sys.stderr):
            trainer.train()

    return sum(p.numel() for p in network.parameters()), train


def _batches(arguments: argparse.Namespace, augment: Any) -> Iterator[torch.Tensor]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    data = ImageFolder(str(Path(arguments.folder).parent), transform=augment)
    loader = DataLoader(
        data,
        batch_size=arguments.batch,
        shuffle=True,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        for images, _ in loader:
            yield images


def main() -> None:
    """Wait for numbers of steps; train; say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--base", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    build = diffusers_loop if arguments.contender == "diffusers" else lucidrains_trainer
    parameters, train = build(arguments)
    print(json.dumps({"parameters": parameters}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        train(int(line))
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
