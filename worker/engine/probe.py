"""What chunk sizes a model's network can be evaluated in, found out when it is loaded.

Every size is tried, which also readies the libraries for it. One without memory is left out. Where
pictures must be the same bits whatever shares a step, so is each that computes other bits than the
size that stays: a processor's kernels may add up in another order for another size (`sensitive`).
"""

import logging
import time
from dataclasses import replace
from functools import partial
from itertools import count

import torch
from torch import Tensor

from models.cores import Cores
from worker.engine.memory import is_out_of_memory
from worker.engine.precision import Plan
from worker.engine.sensitive import Sensitive
from worker.engine.weights import Weights

log = logging.getLogger("emaki.worker")
_SECONDS = 0.1  # for trying sizes on other rows, too
_TRIES = 4  # the first readies the libraries
_LONGEST_STEP = 0.05  # seconds: cancels and newcomers wait for two
_WORTH = 0.9  # of the smaller size's time a place, at most


_Inputs = tuple[Tensor, Tensor, Tensor | None]  # rows, timesteps, conditions


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
    sizes: list[int] = []
    for size in reversed(plan.sizes):
        warm = partial(_warmed, weights, inputs, size)
        try:
            # On every core: each has threads and buffers of its own.
            list(cores.map(warm, range(plan.cores)))
        except (MemoryError, RuntimeError) as error:
            alone = size == last and plan.alike is None and not sizes
            if alone or not is_out_of_memory(error):
                raise
            log.warning("%s: no memory for chunks of %d", weights.version, size)
        else:
            sizes.insert(0, size)
    if plan.alike is not None:
        sizes = _alike(weights, sizes, plan.alike, cores)
    took = time.monotonic() - began
    log.info("tried %s in %.1f s: chunks of %s", weights.version, took, sizes)
    return replace(weights, sizes=tuple(sizes))


def _alike(weights: Weights, sizes: list[int], stays: int, cores: Cores) -> list[int]:
    """The sizes that compute the same bits as the one that stays, whichever rows are tried."""
    if stays not in sizes:
        return [stays]  # pictures would differ with another; memory may come back
    until, rows = time.monotonic() + _SECONDS, sizes[-1]
    for seed in count():
        tried = partial(_tried, weights, _some_rows(weights, rows, seed=seed))
        outputs = dict(zip(sizes, cores.map(tried, sizes), strict=True))
        sizes = [size for size in sizes if torch.equal(outputs[size], outputs[stays])]
        if sizes == [stays] or time.monotonic() > until:
            break
    return sizes


def _tried(weights: Weights, inputs: _Inputs, size: int) -> Tensor:
    with torch.inference_mode(), Sensitive():  # type: ignore[no-untyped-call]  # of this thread
        return _all_rows(weights, inputs, size)


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


def _timed(weights: Weights, inputs: _Inputs, size: int) -> float:
    began = time.perf_counter()
    with torch.inference_mode():
        outputs = _all_rows(weights, inputs, size)
    outputs.float().sum().item()  # which waits for the device
    return time.perf_counter() - began


def _some_rows(weights: Weights, rows: int, *, seed: int = 0) -> _Inputs:
    """Pixels, timesteps and conditions such as come up."""
    chance = torch.Generator().manual_seed(seed)
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


def _all_rows(weights: Weights, inputs: _Inputs, size: int) -> Tensor:
    """The network's output for all rows, evaluated in chunks of this size."""
    x, t, conditions = inputs
    outputs = []
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        its = None if conditions is None else conditions[part]
        outputs.append(weights.forward(x[part], t[part], its))
    return torch.cat(outputs)


def _warmed(weights: Weights, inputs: _Inputs, size: int, _core: int) -> None:
    x, t, conditions = inputs
    with torch.inference_mode():  # of this thread
        weights.forward(x[:size], t[:size], None if conditions is None else conditions[:size])
