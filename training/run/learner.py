"""The network while it learns: one optimizer step of the whole team at a time, and its EMA.

Knows nothing of files, reports or when to stop.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.arithmetic import computes_bfloat16
from models.cores import Cores
from models.ema import EMA
from models.unet import UNet
from training.config import Run
from training.encoding.inputs import Inputs
from training.pictures.data import Pictures
from training.run.attention import use_plain_attention
from training.run.averages import PowerAverages
from training.run.dropout import batch_part, use_picture_dropout
from training.run.lesson import Lesson
from training.run.loader import Loader
from training.run.objective import Draws, Forward, step_seed
from training.run.team import Team, micro_batches

_MOST_CORES = 4  # each holds the network's gradients once more


@dataclass(frozen=True)
class Outcome:
    """One step's scalars, still on the device.

    Attributes:
        loss: the batch's mean weighted error.
        norm: the gradient's, before clipping.
        stops: how many members were asked to stop.
    """

    loss: Tensor
    norm: Tensor
    stops: Tensor


@dataclass(frozen=True)
class _Batch:
    """This member's pictures and labels, as `Loader.batch` gives them, and the batch's draws."""

    pixels: Tensor
    labels: Tensor
    draws: Draws


class Learner:
    """Network, optimizer and EMA after ``step`` steps."""

    def __init__(
        self, run: Run, data: Pictures, lesson: Lesson, *, device: torch.device, team: Team
    ) -> None:
        self.step = 0
        self._train, self._device, self._team = run.train, device, team
        train = run.train
        self._parts = micro_batches(train.batch_size, train.accumulate, team)
        torch.manual_seed(train.seed)
        # Convolutions in bf16 run on tensor cores without a transposition when channels are last.
        self.network = UNet(lesson.shape).to(device)
        if lesson.weights is not None:
            self.network.load_state_dict(lesson.weights)
        if device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._objective = lesson.objective
        self.parts = self._objective.parts
        self._parameters = list(self.network.parameters())
        groups = [{"params": self._parameters, "rate": 1.0}]
        if self.parts is not None:
            parts = list(self.parts.parameters())
            groups.append({"params": parts, "rate": self._objective.parts_rate})
            self._parameters = self._parameters + parts
        self.ema = EMA(self.network, decay=train.ema_decay)
        self.averages = PowerAverages(self.network) if train.snapshot_every else None
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=train.learning_rate,
            betas=(0.9, train.beta2),
            weight_decay=train.weight_decay,
            fused=True,
        )
        self._loader = Loader(
            lesson.inputs or Inputs(data.images, data.labels, weights=data.weights),
            batch_size=train.batch_size,
            seed=train.seed,
            device=device,
            rows=slice(self._parts[0].start, self._parts[-1].stop),
        )
        self._forward: Forward = self.network
        if train.compile:
            self._forward = torch.compile(self.network)
        else:
            use_picture_dropout(self.network)
        # Compiled code is made for one size of batch, and shares out each operation's work itself.
        plain = device.type == "cpu" and not train.compile
        self._cores = Cores(torch.get_num_threads() if plain else 1, most=_MOST_CORES)
        if plain and train.bf16 and computes_bfloat16(device):
            use_plain_attention(self.network)

    def advance(self, *, asked_to_stop: bool = False) -> Outcome:
        """Take one optimizer step."""
        self.optimizer.zero_grad(set_to_none=True)  # frees the last step's before this one's
        if self._train.compile:
            purpose = f"dropout{self._team.rank}"  # other rows, other masks
            torch.manual_seed(step_seed(self._train.seed, self.step, purpose))
        batch = _Batch(*self._loader.batch(self.step), self._objective.draw(self.step))
        loss, *gradients = self._sum_of_shares(batch)
        stops = torch.full((), float(asked_to_stop), device=self._device)
        self._team.sum_([loss, *gradients, stops])
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._train.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * self.learning_rate(self.step)
        self.optimizer.step()
        self.ema.update()
        self.step += 1
        if self.averages is not None:
            self.averages.update(self.step)
        return Outcome(loss, norm, stops)

    def _sum_of_shares(self, batch: _Batch) -> list[Tensor]:
        """The loss and each parameter's gradient over this member's rows."""
        sums: list[Tensor] = []
        for part in self._parts:
            for share in self._cores.map(partial(self._share, batch), self._cores.split(part)):
                sums = [a.add_(b) for a, b in zip(sums, share, strict=True)] if sums else share
        return sums

    def _share(self, batch: _Batch, rows: slice) -> list[Tensor]:
        """What these rows add to the loss and to each parameter's gradient; in any thread."""
        own = slice(rows.start - self._parts[0].start, rows.stop - self._parts[0].start)
        seed = step_seed(self._train.seed, self.step, "dropout")
        with batch_part(self._train.batch_size, rows, seed=seed, device=self._device):
            loss = self._objective.loss(
                self._forward, batch.pixels[own], batch.labels[own], batch.draws, rows
            )
        gradients = torch.autograd.grad(loss, self._parameters)
        # The optimizer's fused kernel wants a gradient laid out as its parameter is.
        return [
            loss.detach(),
            *(
                g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
                for g, p in zip(gradients, self._parameters, strict=True)
            ),
        ]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to the final rate at ``train.steps``."""
        train = self._train
        if step < train.warmup_steps:
            return train.learning_rate * (step + 1) / train.warmup_steps
        done = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
        half_cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
        span = train.learning_rate - train.final_learning_rate
        return train.final_learning_rate + span * half_cosine

    def close(self) -> None:
        """End the threads."""
        self._loader.close()
        self._cores.close()
