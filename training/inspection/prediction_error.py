"""How well noise is predicted at each stage of the process, against three yardsticks.

The target of noise prediction is eps, which has unit variance at *every* t: x_t = alpha_t x_0 +
sigma_t eps, and only the factor sigma_t is small near the data. So predicting zero costs 1
everywhere, predicting other noise costs 1 + 1 = 2, and knowing x_0 costs nothing.

Shapes: N pictures (N, C, H, W) in [-1, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import Model
from models.prediction import to_eps
from models.schedule import Schedule
from training.charts import grouped_bars, panels, to_image
from training.errors import TrainingError

_ROWS = 64  # pictures that a network sees at once
_MOST_NUMBERED = 6  # bins whose bars have room for a figure


@dataclass(frozen=True)
class Noised:
    """A batch on its way: x_t = alpha x_0 + sigma eps, each row at its own t.

    Everything is float64, so that the perfect predictor loses nothing near the data, where eps is
    a small difference divided by a small sigma.
    """

    x_0: Tensor
    x_t: Tensor
    t: Tensor
    alpha: Tensor
    sigma: Tensor


Predictor = Callable[[Noised], Tensor]


@dataclass(frozen=True)
class Bin:
    """Mean squared errors of each predictor over timesteps ``first`` ... ``last``."""

    first: int
    last: int
    mse: Mapping[str, float]


def yardsticks(seed: int) -> dict[str, Predictor]:
    """The predictors that need no network: zero, random noise, and knowing x_0."""
    generator = torch.Generator().manual_seed(seed + 1)

    def random(batch: Noised) -> Tensor:
        return torch.randn(batch.x_t.shape, dtype=torch.float64, generator=generator)

    return {
        "zero": lambda batch: torch.zeros_like(batch.x_t),
        "random": random,
        "perfect": lambda batch: (batch.x_t - batch.alpha * batch.x_0) / batch.sigma,
    }


def network_predictor(model: Model, labels: Tensor | None) -> Predictor:
    """A model's own noise prediction, whatever its network puts out.

    Args:
        labels: (N,) classes of the pictures; None: the null class, or no class.
    """
    schedule = model.manifest.diffusion.build_schedule()
    p, q = (
        torch.from_numpy(values.copy())
        for values in to_eps(model.manifest.diffusion.prediction, schedule.alphas, schedule.sigmas)
    )
    device = next(model.network.parameters()).device

    @torch.inference_mode()
    def predict(batch: Noised) -> Tensor:
        parts = torch.split(torch.arange(len(batch.t)), _ROWS)
        output = torch.cat(
            [
                model.network(
                    batch.x_t[rows].float().to(device),
                    batch.t[rows].to(device),
                    None if labels is None else labels[rows].to(device),
                ).cpu()
                for rows in parts
            ]
        )
        at = batch.t
        return _rows(p[at]) * batch.x_t + _rows(q[at]) * output.double()

    return predict


def measure_errors(
    pictures: Tensor,
    schedule: Schedule,
    predictors: Mapping[str, Predictor],
    *,
    bins: int,
    draws: int,
    seed: int,
) -> list[Bin]:
    """Mean squared error of each predictor in equal bins of timesteps.

    Args:
        draws: timesteps and noises per picture and bin.

    Raises:
        TrainingError: more bins than timesteps, or a number below 1.
    """
    if not 1 <= bins <= schedule.timesteps:
        raise TrainingError(f"--bins {bins} is not in 1 ... T = {schedule.timesteps}")
    if draws < 1:
        raise TrainingError(f"--draws {draws} is not at least 1")
    generator = torch.Generator().manual_seed(seed)
    x_0 = pictures.double()
    alphas, sigmas = (torch.from_numpy(v.copy()) for v in (schedule.alphas, schedule.sigmas))
    found = []
    for index in range(bins):
        first, end = (schedule.timesteps * i // bins for i in (index, index + 1))
        sums = dict.fromkeys(predictors, 0.0)
        for _ in range(draws):
            t = torch.randint(first, end, (len(x_0),), generator=generator)
            noise = torch.randn(x_0.shape, dtype=torch.float64, generator=generator)
            alpha, sigma = _rows(alphas[t]), _rows(sigmas[t])
            batch = Noised(x_0, alpha * x_0 + sigma * noise, t, alpha, sigma)
            for name, predict in predictors.items():
                sums[name] += float((predict(batch) - noise).square().mean())
        found.append(Bin(first, end - 1, {name: value / draws for name, value in sums.items()}))
    return found


def to_json(bins: list[Bin], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data: how it was measured, and the errors per bin."""
    return {**facts, "bins": [{"from": b.first, "to": b.last, **b.mse} for b in bins]}


def to_table(bins: list[Bin]) -> str:
    """The errors for people."""
    names = list(bins[0].mse)
    lines = [f"{'timesteps':>11}" + "".join(f" {name:>9}" for name in names)]
    for one in bins:
        cells = "".join(f" {one.mse[name]:>9.4f}" for name in names)
        lines.append(f"{f'{one.first}-{one.last}':>11}{cells}")
    return "\n".join(lines)


def to_plot(title: str, bins: list[Bin]) -> Image.Image:
    """A group of bars per bin; dashed where zero and random are expected."""
    figure, (axes,) = panels(1)
    groups = {name: [one.mse[name] for one in bins] for name in bins[0].mse}
    grouped_bars(axes, [f"{one.first}-{one.last}" for one in bins], groups)
    if len(bins) <= _MOST_NUMBERED:
        for bars, values in zip(axes.containers, groups.values(), strict=True):
            axes.bar_label(bars, [_short(value) for value in values], padding=2, fontsize=7)  # type: ignore[arg-type]
    for guide in (1.0, 2.0):
        axes.axhline(guide, color="black", linestyle="--", linewidth=0.8)
    axes.set_title(title, fontsize="medium")
    axes.set(
        xlabel="timesteps of the bin (small: near the picture; large: near pure noise)",
        ylabel="mean squared error of the predicted noise",
    )
    figure.legend(frameon=False, ncols=len(groups), loc="outside upper center")
    return to_image(figure)


def _short(value: float) -> str:
    """Two decimals, or one digit of what is small and yet not nothing."""
    return f"{value:.1g}" if 1e-4 <= value < 0.01 else f"{value:.2f}"


def _rows(values: Tensor) -> Tensor:
    return values[:, None, None, None]
