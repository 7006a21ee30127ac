"""What an autoencoder is trained for: the picture itself, its edges, and small, smooth latents.

Every random number is a function of (seed, step). Shapes: B pictures of (C, H, W) in [-1, 1].
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.arithmetic import in_bfloat16
from training.autoencoder.settings import Train
from training.run.objective import step_seed

_SCALES = (0.5, 0.75, 1.0)


def loss(network: Any, x: Tensor, train: Train, step: int) -> Tensor:
    """The loss of a batch (B, C, H, W): L1, L1 of differences, and a little of the latents' size.

    In a share of the steps the latents are scaled and turned by multiples of 90 degrees before
    they are decoded, and the picture that is wanted likewise.
    """
    generator = torch.Generator().manual_seed(step_seed(train.seed, step, "autoencoder"))
    chance, scale, turn = torch.rand(3, generator=generator).tolist()
    with in_bfloat16(x.device, wanted=train.bf16):
        latents, size = _latents(network, x, train.seed, step)
        factor = x.shape[-1] // latents.shape[-1]
        wanted = x
        if chance < train.equivariance:
            smaller, turns = _SCALES[int(scale * len(_SCALES))], int(turn * 4)
            latents = F.interpolate(latents, scale_factor=smaller, mode="area")
            height, width = latents.shape[-2:]
            wanted = F.interpolate(x, size=(height * factor, width * factor), mode="area")
            latents, wanted = (torch.rot90(one, turns, (2, 3)) for one in (latents, wanted))
        decoded = network.decode(latents).sample
    decoded = decoded.float()
    edges = sum((decoded.diff(dim=dim) - wanted.diff(dim=dim)).abs().mean() for dim in (2, 3))
    error: Tensor = (decoded - wanted).abs().mean() + train.gradient_weight * edges
    return error + train.kl_weight * size.float()


def _latents(network: Any, x: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """A batch's latents, drawn where the network gives a distribution, and their penalty."""
    encoded = network.encode(x)
    if hasattr(encoded, "latents"):
        return encoded.latents, 0.5 * encoded.latents.float().square().mean()
    distribution = encoded.latent_dist
    generator = torch.Generator(x.device).manual_seed(step_seed(seed, step, "latents"))
    latents: Tensor = distribution.sample(generator)
    return latents, distribution.kl().mean() / latents[0].numel()


def psnr(drawn: Tensor, wanted: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture in dB, (B,); both (B, C, H, W) in [-1, 1]."""
    drawn = ((drawn.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    errors = (drawn - wanted).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return 10 * torch.log10(4 / errors)
