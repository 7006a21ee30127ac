"""`python -m tests.chaos.poisoned`: a worker whose network does harm when it sees class 1.

`POISON` says what: raise an error, kill the process, hang; or, at any class: run out of memory in
batches above 4, or be slow; or kill the process when it reads a picture to begin from. Everything
else is the worker as it is.
"""

import os
import signal
import time

import torch
from torch import Tensor

import worker.inputs
from models.unet import UNet
from worker.__main__ import main
from worker.inputs import Begun

POISON = 1
harm = os.environ["POISON"]
healthy = UNet.forward


def poisoned(self: UNet, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
    if harm == "oom" and len(x_t) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory, or so it seems")
    if harm == "slow":
        time.sleep(0.1)
    if condition is not None and bool((condition == POISON).any()):
        if harm == "raise":
            raise RuntimeError("this class is poison")
        if harm == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if harm == "hang":
            time.sleep(3600)
    return healthy(self, x_t, t, condition)


def deadly(*_files: object, **_wanted: object) -> Begun:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives this")


UNet.forward = poisoned  # type: ignore[method-assign]
if harm == "read":
    worker.inputs.begun = deadly
main()
