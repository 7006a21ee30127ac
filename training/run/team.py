"""Several processes that train one network together, started by torchrun; or just this one.

Every member holds the whole network and draws the whole batch's random numbers, but computes only
its own rows; sums over members then make all of them take the same step.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from training.errors import TrainingError


@dataclass(frozen=True)
class Team:
    """Which member this process is: ``rank`` of ``size``, ``local_rank`` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this member writes files and talks."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all members, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        totals = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view(tensor.shape))

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader runs the body before the others do, who then find its results cached."""
        if not self.leads:
            dist.barrier()
        try:
            yield
        finally:
            if self.leads and self.size > 1:
                dist.barrier()


@contextmanager
def join_team(*, cuda: bool) -> Iterator[Team]:
    """The team that torchrun's environment variables describe; alone without them.

    Raises:
        TrainingError: they are incomplete, or there are more members than GPUs on this machine.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Team()
        return
    try:
        rank, size, local = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"WORLD_SIZE is set but {error} is missing or no number: start with torchrun, or "
            "unset WORLD_SIZE"
        ) from error
    if cuda and local >= torch.cuda.device_count():
        raise TrainingError(
            f"torchrun started member {local + 1} of this machine, which has "
            f"{torch.cuda.device_count()} GPUs; give a smaller --nproc-per-node"
        )
    if cuda:
        torch.cuda.set_device(local)
    # The others wait while the leader decodes, encodes or draws what all of them will learn from.
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=12))
    try:
        yield Team(rank, size, local)
    finally:
        dist.destroy_process_group()


def micro_batches(batch_size: int, accumulate: int, team: Team) -> list[slice]:
    """The rows of a batch that this member computes, one slice after the other.

    Raises:
        TrainingError: the batch does not divide evenly.
    """
    pieces = accumulate * team.size
    if batch_size % pieces:
        raise TrainingError(
            f"train.batch_size = {batch_size} is not divisible by train.accumulate x processes = "
            f"{accumulate} x {team.size}; it counts the pictures of a whole step"
        )
    rows = batch_size // pieces
    starts = range(team.rank * accumulate * rows, (team.rank + 1) * accumulate * rows, rows)
    return [slice(start, start + rows) for start in starts]
