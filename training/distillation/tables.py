"""Learned tables: a solver's points and coefficients, moved until few steps draw what many do.

LD3 (Tong et al. 2024, arXiv:2405.15506) learns the points, S4S (Frankel et al. 2025,
arXiv:2502.17423) the coefficients too. Here both start from DPM-Solver++(2M) at the same K, and are
moved by Adam towards pictures that the same network draws from the same noise in many steps. The
network is frozen; a table has 4 K numbers, so a few hundred noises and minutes are enough.

Shapes: B rows of (C, H, W); K steps.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.checkpoint import Model
from models.distilled import LearnedTable
from models.guidance import evaluations, guide, guides
from models.noise import normal
from models.sample import draw
from models.schedule import Schedule
from models.step import Coefficients, advance
from training.errors import TrainingError
from training.run.levels import interpolate
from training.run.objective import step_seed

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_HUBER = 0.1  # pixels that differ by less count by their square, others by their distance


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long and from what a table is learned.

    Attributes:
        noises: first noises to learn from; a quarter as many others judge the result.
        iterations, batch, learning_rate: of Adam.
        teacher_steps: of the pictures to come near to.
    """

    noises: int = 512
    iterations: int = 300
    batch: int = 16
    learning_rate: float = 1e-2
    teacher_steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (
            ("noises", 1_000_000),
            ("iterations", 1_000_000),
            ("batch", 4096),
            ("teacher_steps", 10_000),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise TrainingError(f"tables.{name} = {getattr(self, name)} is not in 1 ... {most}")
        if not 0 < self.learning_rate <= 1:
            raise TrainingError(
                f"tables.learning_rate = {self.learning_rate} is not above 0 and at most 1"
            )


class Rows(nn.Module):
    """A table's free numbers, float64: points in lambda, and factors of the solver's a, b, c."""

    def __init__(self, half_log_snr: Tensor, schedule: Schedule) -> None:
        super().__init__()
        self.first = nn.Parameter(half_log_snr[:1].clone())
        self.log_gaps = nn.Parameter(half_log_snr.diff().log())
        self.factors = nn.Parameter(torch.zeros(3, len(half_log_snr) - 1, dtype=torch.float64))
        lambdas = torch.tensor(schedule.half_log_snr[::-1].copy())
        self._lambdas = lambdas
        self._timesteps = torch.arange(schedule.timesteps - 1, -1, -1, dtype=torch.float64)

    def forward(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Points in lambda and t, each (K,), and a, b, c, each (K,)."""
        points = torch.cat([self.first, self.first + self.log_gaps.exp().cumsum(0)])
        points = points.clamp(self._lambdas[0], self._lambdas[-1])
        solver = torch.stack(second_order(points))
        rows = solver * (1 + self.factors)
        last = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
        a, b, c = torch.cat([rows, last], dim=1)
        return points, interpolate(points, self._lambdas, self._timesteps), a, b, c


def second_order(half_log_snr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DPM-Solver++(2M)'s a, b, c between K points, (K - 1,) each; as `models.sampler` has them."""
    h = half_log_snr.diff()
    alpha, sigma = (2 * half_log_snr).sigmoid().sqrt(), (-2 * half_log_snr).sigmoid().sqrt()
    gain = -alpha[1:] * torch.expm1(-h)
    half_ratio = torch.cat([torch.zeros_like(h[:1]), h[1:] / (2 * h[:-1])])
    return sigma[1:] / sigma[:-1], gain * (1 + half_ratio), -gain * half_ratio


class TableLearner:
    """One table on its way from the solver's to its own; ``iteration`` of them are done."""

    def __init__(
        self,
        model: Model,
        *,
        steps: int,
        guidance_scale: float,
        guidance_interval: tuple[float, float],
        budget: Budget,
    ) -> None:
        if model.encoder is not None:
            raise TrainingError(
                f"{model.manifest.version} draws from texts, for which no tables are learned yet"
            )
        self._model, self._scale, self._interval = model, guidance_scale, guidance_interval
        self._budget = budget
        self._device = next(model.network.parameters()).device
        diffusion = model.manifest.diffusion
        self._schedule, self._prediction = diffusion.build_schedule(), diffusion.prediction
        plain = diffusion.build_table("dpmpp_2m", steps)
        points = np.log(plain.alpha) - np.log(plain.sigma)
        self.rows = Rows(torch.tensor(points), self._schedule)
        self.optimizer = torch.optim.Adam(self.rows.parameters(), lr=budget.learning_rate)
        self.iteration = 0
        held_out = max(1, budget.noises // 4)
        self._targets = self._teach(torch.arange(budget.noises + held_out))

    def table(self) -> LearnedTable:
        """As it is now."""
        with torch.no_grad():
            _, t, a, b, c = (column.tolist() for column in self.rows())
        return LearnedTable(
            guidance_scale=self._scale,
            guidance_interval=self._interval,
            t=tuple(t),
            a=tuple(a),
            b=tuple(b),
            c=tuple(c),
        )

    def save(self, path: Path) -> None:
        """Write what `resume` needs; whole or not at all."""
        state = {"iteration": torch.tensor(self.iteration)}
        for name, value in self.rows.named_parameters():
            moments = self.optimizer.state[value]
            state |= {f"{key}.{name}": moments[key] for key in _MOMENTS}
            state[name] = value.detach()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file({key: value.contiguous() for key, value in state.items()}, temporary)
        temporary.replace(path)

    @torch.no_grad()
    def resume(self, path: Path) -> None:
        """Go on from what `save` wrote; TrainingError if there is nothing."""
        if not path.is_file():
            raise TrainingError(f"{path} is not there to go on from; leave out --resume")
        state = load_file(path)
        self.iteration = int(state["iteration"])
        for name, value in self.rows.named_parameters():
            value.copy_(state[name])
            self.optimizer.state[value] = {key: state[f"{key}.{name}"] for key in _MOMENTS}

    def advance(self) -> float:
        """One step of Adam; returns the batch's distance from the teacher's pictures."""
        budget = self._budget
        generator = torch.Generator().manual_seed(step_seed(budget.seed, self.iteration, "table"))
        seeds = torch.randint(budget.noises, (budget.batch,), generator=generator)
        rate = budget.learning_rate * (1 - self.iteration / budget.iterations)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.distance(seeds)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.iteration += 1
        return float(loss.detach())

    @torch.no_grad()
    def held_out(self) -> float:
        """The distance over noises that were not learned from."""
        seeds = torch.arange(self._budget.noises, len(self._targets))
        parts = torch.split(seeds, self._budget.batch)
        return float(sum(self.distance(part) * len(part) for part in parts) / len(seeds))

    def distance(self, seeds: Tensor) -> Tensor:
        """Mean Huber distance of few-step pictures from the teacher's, from the same noise."""
        images = self.draw(seeds)
        return F.huber_loss(images, self._targets[seeds].to(images.device), delta=_HUBER)

    def draw(self, seeds: Tensor) -> Tensor:
        """The table's pictures, with gradients back to its numbers; `models.sample.draw` else."""
        points, t, a, b, c = self.rows()
        alpha, sigma = (2 * points).sigmoid().sqrt(), (-2 * points).sigmoid().sqrt()
        p, q = {
            "eps": (1 / alpha, -sigma / alpha),
            "v": (alpha, -sigma),
            "x0": (torch.zeros_like(alpha), torch.ones_like(alpha)),
        }[self._prediction]
        on_device = seeds.to(self._device)
        rows, network = len(seeds), self._model.network

        def column(values: Tensor, k: int) -> Tensor:
            return values[k].float().to(self._device).expand(rows)

        bound = torch.full((rows,), 1.0 if self._model.manifest.diffusion.clip else torch.inf)
        shape = (network.config.channels, *network.config.size)
        x = normal(on_device, torch.zeros_like(on_device), shape)
        previous, labels = torch.zeros_like(x), self._labels(seeds)
        for k in range(len(t)):
            coefficients = Coefficients(
                p=column(p, k),
                q=column(q, k),
                a=column(a, k),
                b=column(b, k),
                c=column(c, k),
                d=torch.zeros(rows, device=self._device),
                bound=bound.to(self._device),
            )
            guided = guides(k, len(t), self._interval)
            output = self._output(x, column(t, k), labels, guided=guided)
            x, previous = advance(x, output, previous, None, coefficients)
        return x

    def _output(self, x: Tensor, t: Tensor, labels: Tensor | None, *, guided: bool) -> Tensor:
        network = self._model.network
        null = network.config.null_class
        if labels is None or not guided or evaluations(self._scale, conditional=True) == 1:
            output: Tensor = network(x, t, labels)
            return output
        assert null is not None
        both = network(
            torch.cat([x, x]),
            torch.cat([t, t]),
            torch.cat([torch.full_like(labels, null), labels]),
        )
        unconditional, conditional = both.chunk(2)
        return guide(unconditional, conditional, torch.full_like(t, self._scale))

    def _labels(self, seeds: Tensor) -> Tensor | None:
        """Classes in turn; at guidance 0, none."""
        manifest = self._model.manifest
        if not manifest.classes:
            return None
        if self._scale == 0:
            return torch.full_like(seeds, manifest.null_class or 0).to(self._device)
        return (seeds % len(manifest.classes)).to(self._device)

    def _teach(self, seeds: Tensor) -> Tensor:
        diffusion = self._model.manifest.diffusion
        steps = min(self._budget.teacher_steps, diffusion.timesteps)
        table = diffusion.build_table("dpmpp_2m", steps)
        parts = [
            draw(
                self._model.network,
                table,
                seeds=part,
                labels=self._labels(part),
                guidance_scale=self._scale if self._scale != 0 else 1.0,
                guidance_interval=self._interval,
                clip=diffusion.clip,
            )
            for part in torch.split(seeds, 64)
        ]
        return torch.cat(parts).clone()  # out of inference mode
