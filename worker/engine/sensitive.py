"""Makes the order in which a network's sums are added up show in its output.

Two kernels for the same sum differ in the last bits of a float32, which bfloat16 nearly always
rounds away: a thousand rows may agree and the next not. So every product and convolution is given
terms that cancel: half of them large, the other half nearly their opposites. What is left of the
sum is small, the error of its order is not, and a kernel that adds up otherwise computes other bits
in some of a thousand elements, not in one of a million.

Which kernel runs depends on shapes and types, not on values, so what holds here holds for pictures.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_SPREAD, _SCALES = 5, 4  # terms of 1, 2^5, 2^10 and 2^15: no float32 holds all of their sum's bits


class Sensitive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, sums cancel; a row's inputs depend on nothing but that row."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not: nothing is compiled here, and skipping imports 800 modules, 1.3 s at every start."""
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = list(args)
        name = func.overloadpacket.__name__  # type: ignore[attr-defined]
        if name in ("convolution", "conv2d") and not given[0].is_quantized:
            given[0], given[1] = _cancelling(given[0], 1), _doubled(given[1], 1)
        elif name == "linear":
            given[0], given[1] = _cancelling(given[0], -1), _doubled(given[1], -1)
        elif name == "addmm":
            given[1], given[2] = _cancelling(given[1], -1), _doubled(given[2], 0)
        elif name in ("mm", "bmm"):
            given[0], given[1] = _cancelling(given[0], -1), _doubled(given[1], -2)
        elif name.lstrip("_").startswith("scaled_dot_product"):
            query, key, value = given[:3]
            key = _doubled(_doubled(key, -1), -2)
            given[:3] = _cancelling(query, -1), key, _cancelling(value, -2)
        return func(*given, **(kwargs or {}))


def _cancelling(x: Tensor, dim: int) -> Tensor:
    """Large values, then nearly their opposites."""
    first, second, rest = _halves(x, dim)
    around = [-1 if axis == dim % x.dim() else 1 for axis in range(x.dim())]
    scale = (2.0 ** (_SPREAD * (torch.arange(first.shape[dim]) % _SCALES))).view(around)
    large = first * scale.to(x)
    return _laid_out_as(x, torch.cat([large, second - large, rest], dim=dim))


def _doubled(weight: Tensor, dim: int) -> Tensor:
    """The same values twice."""
    first, _, rest = _halves(weight, dim)
    return _laid_out_as(weight, torch.cat([first, first, rest], dim=dim))


def _laid_out_as(x: Tensor, values: Tensor) -> Tensor:
    """The values with the strides of ``x``, on which the kernel depends, too."""
    for axis, stride in enumerate(x.stride()):
        if stride == 0:  # one row stands for all
            values = values.narrow(axis, 0, 1)
    own = torch.empty_strided(values.shape, x.stride(), dtype=x.dtype).copy_(values)
    return own.expand(x.shape)


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    half = x.shape[dim] // 2
    first, second, rest = x.split([half, half, x.shape[dim] - 2 * half], dim=dim)  # type: ignore[no-untyped-call]
    return first, second, rest
