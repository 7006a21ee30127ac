"""The network while it learns: one optimizer step of the whole team at a time, and its EMA.

Knows nothing of files, reports or when to stop.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.ema import EMA
from models.unet import UNet
from training.config import Config
from training.data import Pictures
from training.dropout import Part, use_picture_dropout
from training.loader import Loader
from training.objective import Forward, Objective
from training.team import Team, micro_batches


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


class Learner:
    """Network, optimizer and EMA after ``step`` steps."""

    def __init__(self, config: Config, data: Pictures, *, device: torch.device, team: Team) -> None:
        self.step = 0
        self._train, self._device, self._team = config.train, device, team
        train = config.train
        self._parts = micro_batches(train.batch_size, train.accumulate, team)
        torch.manual_seed(train.seed)
        shape = config.network.build(
            config.data,
            len(data.classes),
            null_class=train.label_dropout > 0 and bool(data.classes),
        )
        # Convolutions in bf16 run on tensor cores without a transposition when channels are last.
        self.network = UNet(shape).to(device)
        if device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self.network.parameters())
        self.ema = EMA(self.network, decay=train.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self._parameters,
            lr=train.learning_rate,
            betas=(0.9, train.beta2),
            weight_decay=train.weight_decay,
            fused=True,
        )
        self._objective = Objective(
            config,
            classes=shape.num_class_embeds is not None,
            null_class=shape.null_class,
            device=device,
        )
        self._loader = Loader(
            data,
            batch_size=train.batch_size,
            seed=train.seed,
            device=device,
            rows=slice(self._parts[0].start, self._parts[-1].stop),
        )
        self._seen = Part(train.batch_size, self._parts[0])
        self._forward: Forward = self.network
        if train.compile:
            self._forward = torch.compile(self.network)
        else:
            use_picture_dropout(self.network, self._seen)

    def advance(self, *, asked_to_stop: bool = False) -> Outcome:
        """Take one optimizer step."""
        draws = self._objective.draw(self.step)
        pixels, labels = self._loader.batch(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        first = self._parts[0].start
        for part in self._parts:
            self._seen.rows = part
            self._objective.seed(self.step)  # each part draws the whole batch's dropout masks
            own = slice(part.start - first, part.stop - first)
            share = self._objective.loss(self._forward, pixels[own], labels[own], draws, part)
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
        stops = torch.full((), float(asked_to_stop), device=self._device)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        self._team.sum_([*gradients, loss, stops])
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._train.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.ema.update()
        self.step += 1
        return Outcome(loss, norm, stops)

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
        """End the loader's thread."""
        self._loader.close()
