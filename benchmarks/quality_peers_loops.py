"""The peers of `benchmarks.quality_peers`, run in their own environment; not for use alone.

Knows nothing of Emaki. Each trains on a folder of pictures with its own defaults until it has seen
so many, then draws so many at each number of steps, as uint8 files (N, C, H, W).
"""

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

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

BATCH = 16  # both's default
Draw = Callable[[int, int], Tensor]  # how many, in how many steps: (B, C, H, W) in [0, 1]


def diffusers_loop(job: dict[str, Any]) -> Draw:
    """As diffusers' examples/unconditional_image_generation has it; drawn by DDIM."""
    from diffusers import DDIMScheduler, DDPMScheduler
    from diffusers.optimization import get_scheduler

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _unet(job["network"]).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    steps = job["pictures"] // BATCH
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=steps)
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    batches = _batches(job)
    for _ in range(steps):
        clean = next(batches).to(device)
        noise = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),), device=device)
        predicted = network(scheduler.add_noise(clean, noise, t), t).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise.float())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
    network.eval()
    ddim = DDIMScheduler.from_config(scheduler.config)

    def draw(count: int, steps: int) -> Tensor:
        ddim.set_timesteps(steps)
        shape = (count, job["network"]["channels"], *job["network"]["size"])
        x = torch.randn(shape, device=device)
        for t in ddim.timesteps:
            x = ddim.step(network(x, t).sample, t, x).prev_sample
        return x / 2 + 0.5

    return draw


def lucidrains_trainer(job: dict[str, Any]) -> Draw:
    """denoising-diffusion-pytorch's Trainer around the Unet that comes closest in size."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

    channels, levels = job["network"]["channels"], job["network"]["block_channels"]
    multipliers = tuple(width // levels[0] for width in levels)

    def build(width: int) -> Any:
        return Unet(dim=width, dim_mults=multipliers, channels=channels)

    wanted = _size(_unet(job["network"]))
    width = min(range(16, 4 * levels[0], 2), key=lambda width: abs(_size(build(width)) - wanted))
    diffusion = GaussianDiffusion(build(width), image_size=tuple(job["network"]["size"]))
    trainer = Trainer(
        diffusion,
        job["folder"],
        train_num_steps=job["pictures"] // BATCH,
        calculate_fid=False,
        save_and_sample_every=10**9,
        results_folder=tempfile.mkdtemp(),
    )
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    drawing = trainer.ema.ema_model.eval()

    def draw(count: int, steps: int) -> Tensor:
        drawing.sampling_timesteps, drawing.is_ddim_sampling = steps, True
        images: Tensor = drawing.sample(batch_size=count)
        return images

    return draw


def _unet(network: dict[str, Any]) -> Any:
    """Diffusers' network with our layers, without classes."""
    from diffusers import UNet2DModel

    attention = network["attention_levels"]
    return UNet2DModel(
        sample_size=tuple(network["size"]),
        in_channels=network["channels"],
        out_channels=network["channels"],
        block_out_channels=tuple(network["block_channels"]),
        layers_per_block=network["blocks_per_level"],
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        attention_head_dim=network["head_dim"],
        norm_num_groups=network["norm_groups"],
    )


def _size(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())


def _batches(job: dict[str, Any]) -> Iterator[Tensor]:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5], [0.5]),
    ]
    if job["network"]["channels"] == 1:
        steps.insert(0, transforms.Grayscale())
    data = ImageFolder(str(Path(job["folder"]).parent), transform=transforms.Compose(steps))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    while True:
        for images, _ in loader:
            yield images


def main() -> None:
    """Train, draw, and say how long the training took."""
    job = json.loads(sys.argv[2])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    out = Path(job["out"])
    began = time.monotonic()
    draw = (diffusers_loop if sys.argv[1] == "diffusers" else lucidrains_trainer)(job)
    (out / "seconds").write_text(f"{time.monotonic() - began:.0f}")
    for steps in job["steps"]:
        with torch.inference_mode():
            parts = [
                draw(min(100, job["images"] - start), steps).clamp(0, 1).mul(255).round().byte()
                for start in range(0, job["images"], 100)
            ]
        np.save(out / f"{steps}.npy", torch.cat(parts).cpu().numpy())


if __name__ == "__main__":
    main()
