"""A distillation's configuration: TOML sections like a training run's, the rest from the teacher.

Sections `train` and `publish` are those of `training.sections`, with other defaults; `[distill]` is
here. What the pictures and the diffusion process are, the teacher's manifest says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from models.distilled import AnySampler, BakedGuidance, Consistency, Distilled
from models.guidance import WHOLE, needs_null_class
from models.manifest import Manifest
from models.sampler import SAMPLERS
from training.config import Run, build_sections, read_toml
from training.errors import TrainingError
from training.pictures.data import has_grown
from training.sections import Data, Publish, Train

Method = Literal["guidance", "consistency", "adversarial", "discriminative"]

# What a model is that is trained on itself, instead of being another's teacher.
ON_ITSELF: dict[Method, str] = {
    "adversarial": "a consistency model",
    "discriminative": "a diffusion model",
}
_DEFAULTS: dict[Method, dict[str, dict[str, Any]]] = {
    "guidance": {
        "train": {
            "steps": 1600,
            "batch_size": 128,
            "learning_rate": 5e-4,
            "warmup_steps": 100,
            "ema_decay": 0.995,
            "save_every": 200,
        },
        "publish": {},
    },
    "consistency": {
        "train": {
            "steps": 6400,
            "batch_size": 64,
            "learning_rate": 2e-4,
            "final_learning_rate": 2e-5,
            "warmup_steps": 200,
            "ema_decay": 0.998,
            "noise_density": "lognormal",
            "noise_mean": -0.8,
            "noise_std": 2.0,
            "save_every": 200,
        },
        "publish": {"sampler": "consistency", "steps": 2},
    },
    "adversarial": {
        "train": {
            "steps": 2600,
            "batch_size": 64,
            "learning_rate": 8e-5,
            "final_learning_rate": 4e-6,
            "warmup_steps": 100,
            "ema_decay": 0.997,
            "noise_density": "lognormal",
            "noise_mean": -1.2,
            "noise_std": 1.2,
            "save_every": 100,
        },
        "publish": {"sampler": "consistency"},
    },
    "discriminative": {
        "train": {
            "steps": 800,
            "batch_size": 64,
            "learning_rate": 1e-4,
            "final_learning_rate": 5e-6,
            "warmup_steps": 50,
            "ema_decay": 0.998,
            "noise_density": "lognormal",
            "noise_mean": 0.3,
            "noise_std": 1.2,
            "save_every": 100,
        },
        "publish": {},
    },
}


@dataclass(frozen=True, kw_only=True)
class Guided:
    """`[distill]`: how the teacher is guided.

    Attributes:
        guidance_scale: None: as its card's default is.
        guidance_interval: share of a run, [from, to]; None: all of it.
    """

    guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Gaps(Guided):
    """`[distill]` of consistency.

    Attributes:
        first_intervals, last_intervals: two neighbouring noise levels lie about 1 part in this many
            apart; doubled stage by stage from the first to the last.
        teacher_steps: so many neighbours apart are the two that are compared; the teacher walks
            from one to the other.
        bf16: compute the two estimates that are compared in bfloat16 too, where the run does: for
            those well over a sixty-fourth apart; nearer ones differ by what is rounded off.
        levels: as `models.distilled.Consistency` has them.
    """

    first_intervals: int = 16
    last_intervals: int = 256
    teacher_steps: int = 1
    bf16: bool = False
    levels: tuple[tuple[float, ...], ...] = ((), (2.0,), (3.0, 0.7), (6.0, 2.0, 0.7))

    def __post_init__(self) -> None:
        if self.first_intervals < 8:
            raise TrainingError(f"distill.first_intervals = {self.first_intervals} is below 8")
        if not 1 <= self.teacher_steps <= 16:
            raise TrainingError(f"distill.teacher_steps = {self.teacher_steps} is not in 1 ... 16")
        doublings = math.log2(self.last_intervals / self.first_intervals)
        if doublings < 0 or doublings % 1:
            raise TrainingError(
                f"distill.last_intervals = {self.last_intervals} is not first_intervals = "
                f"{self.first_intervals} doubled a whole number of times"
            )
        self.consistency()

    def consistency(self) -> Consistency:
        """What the manifest says of the levels."""
        try:
            return Consistency(levels=self.levels)
        except ValueError as error:
            raise TrainingError(f"[distill] {error}") from error


@dataclass(frozen=True, kw_only=True)
class Critique:
    """`[distill]` of an adversarial one.

    Attributes:
        critic_rate: the critic's learning rate, in times the student's.
        slope: weight of the critic's squared slope, at real and at drawn pictures: the more, the
            slower it changes its mind.
        hold: weight of the mean squared change of the student's estimates.
    """

    critic_rate: float = 8.0
    slope: float = 0.3
    hold: float = 3.0

    def __post_init__(self) -> None:
        for name in ("critic_rate", "slope", "hold"):
            if (value := getattr(self, name)) < 0:
                raise TrainingError(f"distill.{name} = {value} is below 0")


@dataclass(frozen=True, kw_only=True)
class Discrimination:
    """`[distill]` of a discriminative one.

    Attributes:
        drawings: pictures that the model is to draw, and then to be told from.
        beta: how much a change of the squared error says, as a logarithm of likelihoods.
        drawn_weight: of mistaking drawn pictures, beside that of real ones, which is 1.
    """

    drawings: int = 8192
    beta: float = 0.05
    drawn_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.drawings <= 1_000_000:
            raise TrainingError(f"distill.drawings = {self.drawings} is not in 1 ... 1000000")
        for name in ("beta", "drawn_weight"):
            if (value := getattr(self, name)) <= 0:
                raise TrainingError(f"distill.{name} = {value} is not above 0")


@dataclass(frozen=True, kw_only=True)
class Distillation(Run):
    """A run that learns from a teacher."""

    distill: Guided | Critique | Discrimination

    @property
    def guidance(self) -> BakedGuidance:
        """What the teacher is guided by; what the student's weights will hold."""
        distill = self.distill
        if not isinstance(distill, Guided):  # the model as it is
            return BakedGuidance(scale=1.0)
        assert distill.guidance_scale is not None
        try:
            return BakedGuidance(scale=distill.guidance_scale, interval=distill.guidance_interval)
        except ValueError as error:
            raise TrainingError(f"[distill] {error}") from error

    def learned(self, method: Method, teacher: Manifest) -> dict[str, Any]:
        """What its weights depend on, as the manifest keeps it; a resumed run has the same."""
        learned = {**asdict(self.distill), "method": method}
        if isinstance(self.distill, Critique):
            assert teacher.distilled.consistency is not None
            return {
                **learned,
                "levels": [list(one) for one in teacher.distilled.consistency.levels],
            }
        if not isinstance(self.distill, Guided):
            return learned
        learned.pop("levels", None)  # they are of the drawing
        interval = self.distill.guidance_interval
        return {**learned, "guidance_interval": None if interval is None else list(interval)}


def load_distillation(
    method: Method,
    teacher: Manifest,
    *,
    name: str,
    path: Path | None = None,
    overrides: Sequence[str] = (),
) -> Distillation:
    """Read a TOML file, if there is one, and fill in what it leaves open.

    Raises:
        TrainingError: what does not belong in it, or cannot be distilled from this teacher.
    """
    raw = _with_defaults(_DEFAULTS[method], read_toml(path, overrides))
    raw.setdefault("distill", {})
    _publish_as(method, teacher, raw["publish"])
    if method not in ON_ITSELF:
        _guide(raw["distill"], teacher)
    kinds = {"train": Train, "publish": Publish, "distill": _KINDS[method]}
    sections = build_sections(path or "the command line", raw, kinds)
    run = Distillation(name=name, data=_data(teacher), diffusion=teacher.diffusion, **sections)
    _require_teachable(method, teacher, run)
    try:
        distilled_by(method, teacher, run).check(
            run.publish.defaults().sampler, run.publish.steps, run.publish.guidance_scale
        )
    except ValueError as error:
        raise TrainingError(f"[publish] {error}") from error
    return run


def _publish_as(method: Method, teacher: Manifest, publish: dict[str, Any]) -> None:
    """Fill in how the student is drawn from, as the teacher where it can be; and its licence."""
    defaults = teacher.defaults
    published = teacher.training.get("config", {}).get("publish", {})
    publish.setdefault("license", str(published.get("license", "unknown")))
    if method == "guidance":
        publish.setdefault("sampler", defaults.sampler)
    if method in ("guidance", "adversarial"):
        publish.setdefault("steps", defaults.steps)
    if method == "discriminative":
        sampler, steps = plain_drawing(teacher)
        publish.setdefault("sampler", sampler)
        publish.setdefault("steps", steps)
        publish.setdefault("guidance_scale", defaults.guidance_scale)
        publish.setdefault("guidance_interval", list(defaults.guidance_interval))
    publish.setdefault("guidance_scale", 1.0)


def plain_drawing(model: Manifest) -> tuple[AnySampler, int]:
    """The model's default sampler and steps, or those in the place of a learned table's."""
    sampler, steps = model.defaults.sampler, model.defaults.steps
    return (sampler, steps) if sampler in SAMPLERS else ("dpmpp_2m", 20)


def _guide(distill: dict[str, Any], teacher: Manifest) -> None:
    """Fill in how the teacher is guided: as its card says, unless its weights hold guidance."""
    baked, defaults = teacher.distilled.guidance, teacher.defaults
    distill.setdefault(
        "guidance_scale", 1.0 if baked or not teacher.classes else defaults.guidance_scale
    )
    if not baked:
        distill.setdefault("guidance_interval", list(defaults.guidance_interval))
    if tuple(distill.get("guidance_interval", ())) == WHOLE:
        del distill["guidance_interval"]


def distilled_by(method: Method, teacher: Manifest, run: Distillation) -> Distilled:
    """What the student can be asked for."""
    guidance = teacher.distilled.guidance or run.guidance
    if method == "guidance":
        return Distilled(guidance=guidance)
    if method == "adversarial":
        return teacher.distilled
    if method == "discriminative":  # tables were learned for the weights before
        return Distilled()
    assert isinstance(run.distill, Gaps)
    return Distilled(guidance=guidance, consistency=run.distill.consistency())


_KINDS: dict[Method, type[Guided | Critique | Discrimination]] = {
    "guidance": Guided,
    "consistency": Gaps,
    "adversarial": Critique,
    "discriminative": Discrimination,
}


def _with_defaults(
    defaults: Mapping[str, Mapping[str, Any]], raw: dict[str, Any]
) -> dict[str, Any]:
    merged = {section: {**defaults[section], **raw.get(section, {})} for section in defaults}
    return {**raw, **merged}


def _data(teacher: Manifest) -> Data:
    facts, pictures = teacher.training, teacher.latent or teacher.network
    config = facts.get("config", {}).get("data", {})
    return Data(
        size=pictures.size,
        channels=pictures.channels,
        class_names=tuple(config.get("class_names", ())) if has_grown(teacher) else teacher.classes,
        label=str(config.get("label", "label")),
        resize="squash" if facts.get("data", {}).get("resize") == "squash" else "crop",
        flip=bool(config.get("flip", False)),
        hold_out=float(facts.get("data", {}).get("held_out", 0)),
    )


def _require_teachable(method: Method, teacher: Manifest, run: Distillation) -> None:
    scale, name = run.guidance.scale, teacher.version
    if teacher.text is not None:
        raise TrainingError(f"{name} works with texts, which students do not learn yet")
    if method == "adversarial" and teacher.distilled.consistency is None:
        raise TrainingError(
            f"{name} is no consistency model, and a critic can only improve one; make one of it "
            "with distill consistency, or train it on with distill discriminative"
        )
    if method in ON_ITSELF:
        _require_plain(run.train)
    if method != "adversarial" and teacher.distilled.consistency is not None:
        raise TrainingError(f"{name} is a consistency model already; give the one it came from")
    if teacher.distilled.guidance is not None and (
        method in ("guidance", "discriminative") or scale != 1
    ):
        raise TrainingError(
            f"the weights of {name} hold guidance of {teacher.distilled.guidance.scale:g} already; "
            "give the model it came from"
        )
    if method == "guidance" and (scale == 1 or not teacher.classes):
        raise TrainingError(
            f"{name} at guidance {scale:g} takes one evaluation a step already; give another "
            "--guidance-scale, or a model with classes"
        )
    for guided in (scale, run.publish.guidance_scale):
        if teacher.null_class is None and needs_null_class(guided):
            raise TrainingError(
                f"guidance {guided:g} needs a null class, which {name} lacks; use 1"
            )
    if method in ("consistency", "adversarial") and teacher.diffusion.prediction != "v":
        raise TrainingError(
            f"{name} predicts {teacher.diffusion.prediction}, and only v gives good estimates at "
            'every noise level; train a teacher with diffusion.prediction = "v"'
        )


def _require_plain(train: Train) -> None:
    for key in ("uncertainty", "min_snr_gamma", "compile"):
        if value := getattr(train, key):
            raise TrainingError(
                f"train.{key} = {value} does not go with learning from real and drawn pictures "
                "side by side; leave it out"
            )
