"""What distillation made of a network: what it can be asked for besides, or instead.

    guidance      the weights hold classifier-free guidance: one evaluation a step, no other scale
    tables        points and coefficients learned for one number of steps and one guidance
    consistency   every evaluation leads to the picture itself: 1 to 4 of them

Knows the sampler tables of these and their JSON form; nothing of how they are trained.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from models.fields import build
from models.guidance import WHOLE, check_interval
from models.prediction import Prediction, to_x0
from models.sampler import SAMPLERS, START_HALF_LOG_SNR, Sampler, Table
from models.schedule import Schedule, alpha_sigma

DistilledSampler = Literal["learned", "consistency"]
AnySampler = Literal[Sampler, DistilledSampler]
ALL_SAMPLERS: tuple[AnySampler, ...] = (*SAMPLERS, *get_args(DistilledSampler))
CONSISTENCY_STEPS = 4  # the most that a consistency model is offered with


@dataclass(frozen=True, kw_only=True)
class BakedGuidance:
    """The network answers u + scale (c - u) by itself (Meng et al. 2023, arXiv:2210.03142).

    Attributes:
        scale: lambda of the teacher, in 0 ... 20.
        interval: share of a run in which the teacher was guided, counted evenly in log-SNR as
            `dpmpp_2m` has its points; None: in all of it.
    """

    scale: float
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= 20:
            raise ValueError(f"guidance.scale {self.scale} is not in 0 ... 20")
        if self.interval is not None and not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"guidance.interval {list(self.interval)} does not rise in 0 ... 1")


@dataclass(frozen=True, kw_only=True)
class LearnedTable:
    """A sampler's rows, noisiest first: x_next = a x + b x0_hat + c x0_hat(previous).

    Attributes:
        guidance_scale: lambda that it was learned for.
        guidance_interval: share of its steps that were guided, as a run's.
        t: timesteps, falling; fractional ones lie between the schedule's.
        a, b, c: as many; the last row is 0, 1, 0, and the first c is 0.
    """

    guidance_scale: float
    t: tuple[float, ...]
    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    guidance_interval: tuple[float, float] = WHOLE

    def __post_init__(self) -> None:
        check_interval("tables.guidance_interval", self.guidance_interval)
        if not self.t or {len(self.a), len(self.b), len(self.c)} != {len(self.t)}:
            raise ValueError("a learned table has as many a, b and c as t, and one at least")
        if any(late >= early for early, late in pairwise(self.t)):
            raise ValueError(f"a learned table's t {list(self.t)} do not fall")
        if (self.a[-1], self.b[-1], self.c[-1], self.c[0]) != (0, 1, 0, 0):
            raise ValueError("a learned table ends with the row 0, 1, 0 and begins with c = 0")

    @property
    def steps(self) -> int:
        """K, the number of network evaluations."""
        return len(self.t)

    def table(self, schedule: Schedule, prediction: Prediction) -> Table:
        """Its rows as the engine takes them."""
        t = np.array(self.t)
        log_alpha, sigma = alpha_sigma(schedule.half_log_snr_at(t))
        alpha = np.exp(log_alpha)
        p, q = to_x0(prediction, alpha, sigma)
        a, b, c = np.array(self.a), np.array(self.b), np.array(self.c)
        return Table(t, alpha, sigma, p, q, a, b, c, np.zeros_like(t))


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """A network whose estimate of x_0 is the picture itself, at every noise level.

    Attributes:
        levels: one entry for each number of steps from 1 on: the noise levels s = sigma / alpha to
            which the picture is noised again between evaluations, falling; K - 1 of them for K.
    """

    levels: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.levels) <= CONSISTENCY_STEPS:
            raise ValueError(
                f"consistency.levels are for 1 to {CONSISTENCY_STEPS} numbers of steps"
            )
        for index, levels in enumerate(self.levels):
            falls = all(early > late for early, late in pairwise((np.inf, *levels, 0.0)))
            if len(levels) != index or not falls:
                raise ValueError(
                    f"consistency.levels {list(levels)} for {index + 1} steps are not {index} "
                    "falling numbers above 0"
                )

    def table(self, schedule: Schedule, prediction: Prediction, steps: int) -> Table:
        """Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469, Algorithm 1).

        Each row but the last draws noise anew: x_next = alpha' x0_hat + sigma' z.
        """
        lambdas = schedule.half_log_snr
        start = max(lambdas[-1], START_HALF_LOG_SNR)
        wanted = np.array([start, *(-np.log(s) for s in self.levels[steps - 1])])
        wanted = np.clip(wanted, start, lambdas[0])
        log_alpha, sigma = alpha_sigma(wanted)
        alpha, zero = np.exp(log_alpha), np.zeros(steps)
        p, q = to_x0(prediction, alpha, sigma)
        b, d = np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0)
        return Table(schedule.timestep_at(wanted), alpha, sigma, p, q, zero, b, zero, d)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """All that distillation made of one checkpoint; nothing, for most."""

    guidance: BakedGuidance | None = None
    tables: tuple[LearnedTable, ...] = ()
    consistency: Consistency | None = None

    def __post_init__(self) -> None:
        offers = [(table.steps, table.guidance_scale) for table in self.tables]
        if len(set(offers)) != len(offers):
            raise ValueError("two learned tables are for the same steps and guidance")
        if self.consistency is not None and self.tables:
            raise ValueError("a consistency model has no learned tables")
        if self.guidance is not None and any(scale != 1 for _, scale in offers):
            raise ValueError("tables of weights that hold guidance are for guidance 1")

    @property
    def samplers(self) -> tuple[AnySampler, ...]:
        """What requests may name."""
        if self.consistency is not None:
            return ("consistency",)
        return (*SAMPLERS, "learned") if self.tables else SAMPLERS

    def check(self, sampler: AnySampler, steps: int, guidance_scale: float) -> None:
        """Refuse what the network was not distilled for.

        Raises:
            ValueError: says what it takes instead.
        """
        if sampler not in self.samplers:
            known = ", ".join(self.samplers)
            raise ValueError(f"sampler {sampler} is not among what it was made for: {known}")
        if self.guidance is not None and guidance_scale != 1:
            raise ValueError(
                f"guidance {guidance_scale:g}: the weights hold guidance of "
                f"{self.guidance.scale:g} and take no other; use 1"
            )
        if self.consistency is not None and not 1 <= steps <= len(self.consistency.levels):
            raise ValueError(
                f"{steps} steps: sampler consistency takes 1 to {len(self.consistency.levels)}"
            )
        if sampler == "learned" and self.learned(steps, guidance_scale) is None:
            known = ", ".join(f"{t.steps} at guidance {t.guidance_scale:g}" for t in self.tables)
            raise ValueError(
                f"{steps} steps at guidance {guidance_scale:g}: sampler learned takes {known}"
            )

    def table(
        self,
        sampler: DistilledSampler,
        steps: int,
        guidance_scale: float,
        *,
        schedule: Schedule,
        prediction: Prediction,
    ) -> Table:
        """The table of a sampler that came by distillation; ValueError as `check`."""
        self.check(sampler, steps, guidance_scale)
        if sampler == "consistency":
            assert self.consistency is not None
            return self.consistency.table(schedule, prediction, steps)
        learned = self.learned(steps, guidance_scale)
        assert learned is not None
        return learned.table(schedule, prediction)

    def learned(self, steps: int, guidance_scale: float) -> LearnedTable | None:
        """The table that was learned for these, if there is one."""
        for table in self.tables:
            if (table.steps, table.guidance_scale) == (steps, guidance_scale):
                return table
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> "Distilled":
        """Build from parsed JSON; ValueError names what is wrong."""
        parts = dict(data) if isinstance(data, dict) else data
        if isinstance(parts, dict):
            for key, kind in (("guidance", BakedGuidance), ("consistency", Consistency)):
                if parts.get(key) is not None:
                    parts[key] = build(f"distilled.{key}", kind, parts[key])
            tables = parts.get("tables", ())
            if isinstance(tables, list | tuple):
                parts["tables"] = tuple(
                    build("distilled.tables", LearnedTable, table) for table in tables
                )
        distilled: Distilled = build("distilled", cls, parts)
        return distilled
