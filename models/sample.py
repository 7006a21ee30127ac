"""Draw images with one network, one sampler and nobody else: the plain loop.

What training's strips, `training sample` and `training evaluate` use, and what the worker's
engine is held against. Shapes: B rows of (C, H, W); pixels lie in [-1, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor

from models.guidance import WHOLE, evaluations, guide, guides, needs_null_class
from models.noise import normal
from models.sampler import Table
from models.start import Known, mix
from models.step import Coefficients, advance
from models.unet import UNet


@torch.inference_mode()
def draw(
    network: UNet,
    table: Table,
    *,
    seeds: Tensor,
    labels: Tensor | None = None,
    null: Tensor | None = None,
    guidance_scale: float = 1.0,
    guidance_interval: tuple[float, float] = WHOLE,
    clip: bool = True,
    variation: tuple[Tensor, float] | None = None,
    known: Known | None = None,
    skipped: int = 0,
    on_step: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Run a sampler's whole table.

    Args:
        seeds: (B,) int64; row i is the picture of its own seed, whatever the others are.
        labels: (B,) int64 classes, or None to draw without a class; or (B, L, S) text states.
        null: what guidance leads away from, of one row's shape or of all rows'; None: the null
            class.
        guidance_scale: lambda in eps = eps_uncond + lambda (eps_cond - eps_uncond).
        guidance_interval: share of the run, [from, to), in which it applies.
        variation: (B,) int64 seeds and a share: how much of their first noise is mixed in.
        known: a picture to begin from, or to be held to in places.
        skipped: rows of the whole run that stood before the table's first, which is begun with.
        on_step: called after each step k with (k, x before the step, estimate of x_0).

    Returns:
        (B, C, H, W) float32 images.
    """
    config = network.config
    parameter = next(network.parameters())
    device, dtype = parameter.device, parameter.dtype
    shape = (config.channels, *config.size)
    seeds = seeds.to(device)
    rows = len(seeds)
    two_passes = evaluations(guidance_scale, conditional=labels is not None) == 2
    if labels is not None:
        labels = _heard(network, labels.to(device))
        if needs_null_class(guidance_scale):
            if null is None and config.null_class is None:
                raise ValueError(
                    f"guidance_scale {guidance_scale} needs a null class, which this model lacks; "
                    "use 1"
                )
            null = torch.tensor(config.null_class) if null is None else _heard(network, null)
            without = null.to(labels).expand_as(labels)
            both_labels = torch.cat([without, labels])
            labels = labels if two_passes else without

    def column(values: float) -> Tensor:
        return torch.full((rows,), values, dtype=torch.float32, device=device)

    first = normal(seeds, torch.zeros_like(seeds), shape)
    if variation is not None:
        others = normal(variation[0].to(device), torch.zeros_like(seeds), shape)
        pairs = zip(first, others, strict=True)
        first = torch.stack([mix(one, other, variation[1]) for one, other in pairs])
    x = first if known is None else known.first(table, first)
    previous = torch.zeros_like(x)
    for k in range(table.steps):
        t = column(float(table.t[k]))
        if two_passes and guides(skipped + k, skipped + table.steps, guidance_interval):
            both = network(torch.cat([x, x]).to(dtype), torch.cat([t, t]), both_labels).float()
            output = guide(both[:rows], both[rows:], column(guidance_scale))
        else:
            output = network(x.to(dtype), t, labels)
        noise = normal(seeds, torch.full_like(seeds, k + 1), shape) if table.d[k] else None
        coefficients = Coefficients(
            p=column(table.p[k]),
            q=column(table.q[k]),
            a=column(table.a[k]),
            b=column(table.b[k]),
            c=column(table.c[k]),
            d=column(table.d[k]),
            bound=column(1.0 if clip else float("inf")),
        )
        before = x
        x, previous = advance(x, output, previous, noise, coefficients)
        if known is not None:
            x, previous = known.hold(table, k, x, previous, first)
        if on_step is not None:
            on_step(k, before, previous)
    return x


def _heard(network: UNet, told: Tensor) -> Tensor:
    """Classes as they are; of text states what the network asks of them at every step."""
    if told.ndim < 2:
        return told
    each = told if told.ndim == 3 else told[None]
    heard = torch.stack([network.listen(states) for states in each])  # as the worker does
    return heard if told.ndim == 3 else heard[0]


def strip_steps(steps: int, frames: int) -> tuple[int, ...]:
    """The moments that a denoising strip shows, evenly spaced, noise first and picture last.

    Moment k < ``steps`` is x before step k; moment ``steps`` is the picture. There are at most
    ``steps`` + 1 of them, however many frames are asked for; a single frame is the picture.
    """
    if frames <= 1:
        return (steps,) * frames
    return tuple(sorted({round(i * steps / (frames - 1)) for i in range(frames)}))


def to_uint8(images: Tensor) -> Tensor:
    """Pixels in [-1, 1] to 0 ... 255: clamped, then rounded half to even."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
