"""The loss on pictures that are not trained on, beside that on as many that are, or that alone.

Both are measured alike: the same timesteps and noise each time, spread evenly over all noise
levels, and the weights that would be served. What the two do together says whether a network
still learns what such pictures have in common, or has begun to copy those that it is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.unet import UNet
from training.config import Run
from training.encoding.inputs import Inputs
from training.run.objective import Draws, Objective

BINS = 8  # of noise levels
_MOST = 256  # pictures of each kind
_ROWS = 32  # that the network sees at once
_RISEN, _FALLEN = 1.03, 0.97  # more than measuring twice differs by: nothing else changes


@dataclass(frozen=True)
class Measured:
    """Mean squared errors of what the network predicts.

    Attributes:
        seen, unseen: over all noise levels, of training pictures and of others; None: no others.
        seen_levels, unseen_levels: in `BINS` equal parts of the timesteps, least noise first.
    """

    step: int
    seen: float
    unseen: float | None
    seen_levels: tuple[float, ...]
    unseen_levels: tuple[float, ...] = ()


class HeldOut:
    """Measures a network on some pictures of both kinds."""

    def __init__(
        self,
        run: Run,
        objective: Objective,
        *,
        seen: Inputs,
        unseen: Inputs | None,
        device: torch.device,
    ) -> None:
        self._run, self._objective, self._device = run, objective, device
        kinds = [seen] if unseen is None else [seen, unseen]
        count = min(_MOST, *map(len, kinds))
        self._parts = [self._chosen(inputs, count) for inputs in kinds]
        self._t = (np.arange(count) * run.diffusion.timesteps) // count
        generator = torch.Generator().manual_seed(run.train.seed)
        self._noise = torch.randn((count, *seen.shape), generator=generator)

    def _chosen(self, inputs: Inputs, count: int) -> tuple[Tensor, Tensor]:
        """Pictures from all over, in an order that has nothing to do with their classes."""
        order = np.random.default_rng(self._run.train.seed).permutation(len(inputs))[:count]
        labels = inputs.conditions(inputs.labels[order])
        return torch.from_numpy(np.array(inputs.images[order])), labels

    @torch.inference_mode()
    def measure(self, step: int, network: UNet) -> Measured:
        """The losses of a network in eval mode, after so many steps."""
        seen, *others = (self._errors(network, *part) for part in self._parts)
        return Measured(
            step=step,
            seen=float(seen.mean()),
            unseen=float(others[0].mean()) if others else None,
            seen_levels=self._by_level(seen),
            unseen_levels=self._by_level(others[0]) if others else (),
        )

    def _errors(self, network: UNet, pixels: Tensor, labels: Tensor) -> Tensor:
        draws = self._draws()
        found = []
        for start in range(0, len(pixels), _ROWS):
            rows = slice(start, min(start + _ROWS, len(pixels)))
            noised = self._objective.noised(
                pixels[rows].to(self._device), labels[rows].to(self._device), draws, rows
            )
            found.append(self._objective.errors(network, noised).cpu())
        return torch.cat(found)

    def _draws(self) -> Draws:
        schedule = self._run.diffusion.build_schedule()

        def row(values: object) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self._device)

        never = torch.zeros(len(self._t), dtype=torch.bool, device=self._device)
        return Draws(
            flip=never,
            t=torch.from_numpy(self._t).to(self._device),
            alpha=row(schedule.alphas[self._t]),
            sigma=row(schedule.sigmas[self._t]),
            weight=row(np.ones(len(self._t))),
            noise=self._noise.to(self._device),
            unlabelled=never,
        )

    def _by_level(self, errors: Tensor) -> tuple[float, ...]:
        """Each part's mean; where there are fewer pictures than parts, of as many parts."""
        return tuple(float(part.mean()) for part in errors.tensor_split(min(BINS, len(errors))))


def copying(history: Sequence[Measured]) -> str:
    """A line where the network has begun to copy; "" while it has not.

    It has where the loss on unseen pictures rises above its lowest, while that on training
    pictures falls below what it was then.
    """
    unseen = [(one.unseen, one) for one in history if one.unseen is not None]
    if not unseen:
        return ""
    lowest, best = min(unseen, key=lambda one: one[0])
    now, last = unseen[-1]
    if now < _RISEN * lowest or last.seen > _FALLEN * best.seen:
        return ""
    return (
        f"held-out loss rises ({lowest:.4f} at step {best.step}, {now:.4f} now) while "
        f"that on training pictures falls ({best.seen:.4f}, {last.seen:.4f}): the network begins "
        "to copy its pictures; add pictures, or drop more (network.dropout), or keep the "
        f"checkpoint near step {best.step}"
    )
