"""`python -m tests.chaos.standin`: a worker whose network is an addition that takes a millisecond.

What surrounds the network is then most of the work, so many thousands of requests pass through it
in minutes. The outputs depend on all inputs, and not on who shares the batch: an addition and a
product per value round alike wherever the row stands. Everything else is the worker as it is.
"""

import time

from torch import Tensor

from models.unet import UNet
from worker.__main__ import main

STEP_SECONDS = 0.001


def stand_in(self: UNet, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
    time.sleep(STEP_SECONDS)
    shift = t / 1000
    if condition is not None:
        shift = shift + condition * 0.2
    return x_t * 0.5 + shift.to(x_t.dtype)[:, None, None, None]


UNet.forward = stand_in  # type: ignore[method-assign]
main()
