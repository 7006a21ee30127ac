"""Drawing with diffusers, for the peers of our benchmarks; runs in the peers' environment.

Knows nothing of Emaki or HTTP: a diffusers folder, and requests as dictionaries ({seed, batch,
steps, sampler, class}) that are drawn to PNGs.
"""

import base64
import inspect
import io
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

Request = dict[str, Any]
Answer = dict[str, Any]
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
}


class Diffusers:
    """A UNet2DModel with labels, and a scheduler of its own for each request."""

    def __init__(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        import diffusers

        self._dtype = dtype
        self._network = diffusers.UNet2DModel.from_pretrained(
            folder / "unet", low_cpu_mem_usage=False, torch_dtype=dtype
        ).eval()
        config = diffusers.DDPMScheduler.load_config(folder / "scheduler")
        self._kinds = {
            name: (getattr(diffusers, kind), config) for name, kind in SCHEDULERS.items()
        }
        size, channels = self._network.config.sample_size, self._network.config.in_channels
        self._shape = (channels, size, size)

    @torch.inference_mode()
    def draw(self, requests: list[Request]) -> list[Answer]:
        """Draw requests of equal steps, one network evaluation a step for all of them.

        Returns:
            For each its PNGs in base64, when its first step was made (Unix time), and how many
            rows the network saw at once.
        """
        steps = requests[0]["steps"]
        runs = [self._begin(request) for request in requests]
        sizes = [request["batch"] for request in requests]
        labels = torch.cat([torch.full((r["batch"],), r["class"]) for r in requests])
        first_step_at = 0.0
        for k in range(steps):
            x = torch.cat([run.x for run in runs]).to(self._dtype)
            t = torch.cat([run.timesteps[k].expand(n) for run, n in zip(runs, sizes, strict=True)])
            output = self._network(x, t, class_labels=labels).sample.float()
            for run, part in zip(runs, output.split(sizes), strict=True):
                run.step(part, k)
            first_step_at = first_step_at or time.time()
        return [
            {
                "pngs": [_png(x) for x in run.x],
                "first_step_at": first_step_at,
                "rows": sum(sizes),
            }
            for run in runs
        ]

    def _begin(self, request: Request) -> "_Run":
        kind, config = self._kinds[request["sampler"]]
        scheduler = kind.from_config(config)
        scheduler.set_timesteps(request["steps"])
        seeds = range(request["seed"], request["seed"] + request["batch"])
        return _Run(scheduler, [torch.Generator().manual_seed(s) for s in seeds], self._shape)


class _Run:
    """One request's pictures on their way."""

    def __init__(
        self, scheduler: Any, generators: list[torch.Generator], shape: tuple[int, ...]
    ) -> None:
        self._scheduler, self._generators = scheduler, generators
        self._random = "generator" in inspect.signature(scheduler.step).parameters
        self.timesteps: Tensor = scheduler.timesteps
        self.x = torch.stack([torch.randn(shape, generator=g) for g in generators])

    def step(self, output: Tensor, k: int) -> None:
        """Move on by the network's output at the k-th timestep."""
        extra = {"generator": self._generators} if self._random else {}
        self.x = self._scheduler.step(output, self.timesteps[k], self.x, **extra).prev_sample


def _png(x: Tensor) -> str:
    pixels = ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
