"""The manifest: everything a checkpoint says about itself, and its JSON form.

A worker needs nothing else to serve the weights beside it. Validation is by hand because
`models` depends on torch, numpy and safetensors alone.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from models.companions import Latent, Text
from models.distilled import ALL_SAMPLERS, AnySampler, Distilled
from models.fields import build
from models.guidance import WHOLE, check_interval, needs_null_class
from models.prediction import PREDICTIONS, Prediction
from models.sampler import VARIANCES, Sampler, Table, Variance, build_table
from models.schedule import Schedule
from models.unet import UNetConfig

FORMAT = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """The forward process the network was trained on, and how samplers read its output.

    Attributes:
        schedule, timesteps, beta_range: as `models.schedule.Schedule` has them.
        clip: whether each estimate of x_0 is clamped to the pixel range while sampling.
        variance: of the ``ddpm`` sampler, "fixedsmall" (beta-tilde) or "fixedlarge" (beta).
    """

    schedule: str
    timesteps: int
    prediction: Prediction
    clip: bool = True
    variance: Variance = "fixedsmall"
    beta_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _choice("diffusion.prediction", self.prediction, PREDICTIONS)
        _choice("diffusion.variance", self.variance, VARIANCES)
        try:
            self.build_schedule()
        except ValueError as error:
            raise ValueError(f"diffusion: {error}") from error

    def build_schedule(self) -> Schedule:
        """The schedule these words name."""
        return Schedule(self.schedule, self.timesteps, self.beta_range)

    def build_table(self, sampler: Sampler, steps: int, *, eta: float = 0.0) -> Table:
        """A sampler's table for this process; ValueError as `models.sampler.build_table`."""
        return _table(self, sampler, steps, eta)


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a request gets when it does not ask: sampler, its steps, guidance and where."""

    sampler: AnySampler = "dpmpp_2m"
    steps: int = 20
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = WHOLE

    def __post_init__(self) -> None:
        _choice("defaults.sampler", self.sampler, ALL_SAMPLERS)
        check_interval("defaults.guidance_interval", self.guidance_interval)
        if not 0 <= self.guidance_scale <= 20:
            raise ValueError(f"defaults.guidance_scale {self.guidance_scale} is not in 0 ... 20")


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file beside the manifest, as it was when the checkpoint was published."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A checkpoint's description of itself.

    Attributes:
        name, step: which model, after how many optimizer steps.
        classes: names in label order; empty for a model without classes.
        distilled: what it was made able to do besides, or instead.
        files: digest and size of every file beside the manifest.
        training: free-form facts for people: data fingerprint, EMA, commit, configuration.
        quality: free-form measured figures, each with its conditions.
        pixel_range: what the pictures' pixels span.
        latent: of a network whose pictures are an autoencoder's latents.
        text: of a network that is conditioned on text.
    """

    name: str
    step: int
    network: UNetConfig
    diffusion: Diffusion
    classes: tuple[str, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    distilled: Distilled = field(default_factory=Distilled)
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    pixel_range: tuple[float, float] = (-1.0, 1.0)
    latent: Latent | None = None
    text: Text | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.step < 0:
            raise ValueError(f"step {self.step} is negative")
        if self.pixel_range != (-1.0, 1.0):
            raise ValueError(f"pixel_range {list(self.pixel_range)} is not [-1, 1]")
        if not 1 <= self.defaults.steps <= self.diffusion.timesteps:
            raise ValueError(
                f"defaults.steps {self.defaults.steps} is not in 1 ... {self.diffusion.timesteps}"
            )
        d = self.defaults
        try:
            self.distilled.check(d.sampler, d.steps, d.guidance_scale)
        except ValueError as error:
            raise ValueError(f"defaults: {error}") from error
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        unconditional = needs_null_class(self.defaults.guidance_scale)
        if unconditional and self.classes and self.network.null_class is None:
            raise ValueError(
                f"defaults.guidance_scale {self.defaults.guidance_scale} needs a null class, which "
                "the network lacks; use 1"
            )
        if len(self.classes) > (self.network.num_class_embeds or 0):
            raise ValueError(
                f"{len(self.classes)} classes for {self.network.num_class_embeds} class embeddings"
            )
        self._check_companions()

    def _check_companions(self) -> None:
        if (self.text is None) != (self.network.text is None):
            raise ValueError("text and network.text belong together; one of them is missing")
        if self.latent is not None:
            self.latent.check(channels=self.network.channels, size=self.network.size)
            if self.diffusion.clip:
                raise ValueError("diffusion.clip is for pixels; latents have no such bounds")

    @property
    def null_class(self) -> int | None:
        """The label that means "unconditional", or None."""
        return self.network.null_class

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of what is drawn in the end."""
        of = self.latent or self.network
        return (of.channels, *of.size)

    @property
    def version(self) -> str:
        """``name@step``, as answers report it."""
        return f"{self.name}@{step_name(self.step)}"

    def build_table(
        self, sampler: AnySampler, steps: int, *, guidance_scale: float = 1.0, eta: float = 0.0
    ) -> Table:
        """A sampler's table for this network.

        Raises:
            ValueError: as `models.sampler.build_table`, or the network was not distilled for it.
        """
        if sampler == "learned" or sampler == "consistency":  # noqa: PLR1714 - narrows the type
            return self.distilled.table(
                sampler,
                steps,
                guidance_scale,
                schedule=self.diffusion.build_schedule(),
                prediction=self.diffusion.prediction,
            )
        self.distilled.check(sampler, steps, guidance_scale)
        return self.diffusion.build_table(sampler, steps, eta=eta)

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: object) -> "Manifest":
        """Build from parsed JSON.

        Raises:
            CheckpointError: another format version, an unknown or missing field, a bad value.
        """
        if not isinstance(data, dict):
            raise CheckpointError("the manifest is not a JSON object")
        if data.get("format") != FORMAT:
            raise CheckpointError(
                f"checkpoint format {data.get('format')!r} is not {FORMAT}, which this version of "
                "Emaki reads; publish the model again with this version's training"
            )
        try:
            parts = dict(data)
            for key, kind in (
                ("network", UNetConfig),
                ("diffusion", Diffusion),
                ("defaults", Defaults),
            ):
                if key in parts:
                    parts[key] = build(key, kind, parts[key])
            if "distilled" in parts:
                parts["distilled"] = Distilled.from_json(parts["distilled"])
            for key in ("files", "training", "quality"):
                if not isinstance(parts.setdefault(key, {}), dict):
                    raise ValueError(f"{key} is not an object")
            parts["files"] = {
                name: build(f"files.{name}", FileRecord, record)
                for name, record in parts["files"].items()
            }
            manifest: Manifest = build("manifest", cls, parts)
        except ValueError as error:
            raise CheckpointError(f"the manifest is not valid: {error}") from error
        return manifest


def check_name(name: str) -> str:
    """Return ``name`` if it can be a model's name, else raise ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} cannot be a model's name: 1 to 64 of a-z, 0-9, '.', '_', '-', "
            "starting with a letter or digit"
        )
    return name


def step_name(step: int) -> str:
    """The folder's name for a step: zero-padded, so that names sort by step."""
    return f"{step:07d}"


def _choice(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{where} {value!r} is not one of {', '.join(known)}")


@lru_cache(maxsize=256)
def _table(diffusion: Diffusion, sampler: Sampler, steps: int, eta: float) -> Table:
    """Requests are many, their samplers and steps few."""
    return build_table(
        diffusion.build_schedule(),
        prediction=diffusion.prediction,
        sampler=sampler,
        steps=steps,
        eta=eta,
        variance=diffusion.variance,
    )
