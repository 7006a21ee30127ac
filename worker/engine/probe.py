"""What chunk sizes a model's network can be evaluated in, found out when it is loaded.

Every size is tried, which also readies the libraries for it. One without memory is left out. Where
pictures must be the same bits whatever shares a step, so is each that computes other bits than the
size that stays: a processor's kernels may add up in another order for another size. Whether they do
depends on the shapes alone, not on what is computed, so trying some rows shows it.
"""

import logging
import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from models.cores import Cores
from worker.engine.memory import is_out_of_memory
from worker.engine.precision import Plan
from worker.engine.weights import Weights

log = logging.getLogger("emaki.worker")
_SEED = 1
_TRIES = 4  # the first readies the libraries
_LONGEST_STEP = 0.05  # seconds: cancels and newcomers wait for two
_WORTH = 0.9  # of the smaller size's time a place, at most


def probe(weights: Weights, plan: Plan, cores: Cores) -> Weights:
    """The same weights with the sizes that serve.

    Raises:
        RuntimeError: they cannot be evaluated, or there is no memory for any size.
    """
    began, rows, last = time.monotonic(), plan.sizes[-1], plan.sizes[0]
    if plan.graphs:
        fitting = _affordable(weights, plan)
        return replace(weights, sizes=fitting[-1:] if plan.single else fitting)
    inputs = _some_rows(weights, rows)
    outputs: dict[int, Tensor] = {}
    for size in reversed(plan.sizes):
        all_rows = partial(_all_rows, weights, inputs, size)
        try:
            # On every core: each has threads and buffers of its own.
            outputs[size], *_ = cores.map(all_rows, range(plan.cores))
        except (MemoryError, RuntimeError) as error:
            alone = size == last and plan.alike is None and not outputs
            if alone or not is_out_of_memory(error):
                raise
            log.warning("%s: no memory for chunks of %d", weights.version, size)
    sizes = sorted(outputs)
    if plan.alike is not None:
        stays = outputs.get(plan.alike)
        sizes = [n for n in sizes if stays is not None and torch.equal(outputs[n], stays)]
        sizes = sizes or [plan.alike]  # pictures would differ with another; memory may come back
    took = time.monotonic() - began
    log.info("tried %s in %.1f s: chunks of %s", weights.version, took, sizes)
    return replace(weights, sizes=tuple(sizes))


def _affordable(weights: Weights, plan: Plan) -> tuple[int, ...]:
    """Sizes up to the one beyond which a step takes too long, or gains too little, or no memory."""
    sizes: list[int] = []
    seconds: list[float] = []
    for size in plan.sizes:
        inputs = _some_rows(weights, size)
        try:
            took = min(_timed(weights, inputs, size) for _ in range(_TRIES))
        except (MemoryError, RuntimeError) as error:
            if not sizes or not is_out_of_memory(error):
                raise
            break
        gains = not sizes or took / size < _WORTH * seconds[-1] / sizes[-1]
        if sizes and (took > _LONGEST_STEP or not gains):
            break
        sizes.append(size)
        seconds.append(took)
    each = ", ".join(f"{n}: {1000 * s:.1f} ms" for n, s in zip(sizes, seconds, strict=True))
    log.info("tried %s: %s", weights.version, each)
    return tuple(sizes)


def _timed(weights: Weights, inputs: tuple[Tensor, Tensor, Tensor | None], size: int) -> float:
    began = time.perf_counter()
    _all_rows(weights, inputs, size, 0).float().sum().item()  # which waits for the device
    return time.perf_counter() - began


def _some_rows(weights: Weights, rows: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pixels, timesteps and conditions such as come up."""
    chance = torch.Generator().manual_seed(_SEED)
    x = torch.randn((rows, *weights.shape), generator=chance).to(weights.device, weights.dtype)
    t = (torch.rand(rows, generator=chance) * 1000).to(weights.device)
    if weights.condition is None:
        return x, t, None
    shape, dtype = weights.condition.shape, weights.condition.dtype
    if dtype.is_floating_point:
        conditions = torch.randn((rows, *shape), generator=chance).to(dtype)
    else:
        conditions = torch.zeros((rows, *shape), dtype=dtype)
    return x, t, conditions.to(weights.device)


def _all_rows(
    weights: Weights, inputs: tuple[Tensor, Tensor, Tensor | None], size: int, _core: int
) -> Tensor:
    """The network's output for all rows, evaluated in chunks of this size."""
    x, t, conditions = inputs
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            its = None if conditions is None else conditions[part]
            outputs.append(weights.forward(x[part], t[part], its))
    return torch.cat(outputs)
