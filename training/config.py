"""A training run's configuration: one TOML file, checked whole before anything starts.

An unknown key or a value of the wrong type is refused by name.
"""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.companions import called
from models.fields import build
from models.guidance import needs_null_class
from models.manifest import Diffusion, check_name
from models.sampler import SAMPLERS
from training.architecture import Network
from training.errors import TrainingError
from training.sections import Data, Latents, Publish, Texts, Train

_FOLDERS = (("latent", "autoencoder"), ("text", "encoder"), ("text", "tokenizer"))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every training run has, whatever its network learns from."""

    name: str
    data: Data
    diffusion: Diffusion
    train: Train
    publish: Publish = field(default_factory=Publish)

    def __post_init__(self) -> None:
        try:
            check_name(self.name)
        except ValueError as error:
            raise TrainingError(f"{error}; choose one with --name") from error
        if not 1 <= self.publish.steps <= self.diffusion.timesteps:
            raise TrainingError(
                f"publish.steps = {self.publish.steps} is not in 1 ... diffusion.timesteps = "
                f"{self.diffusion.timesteps}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    def to_manifest(self) -> dict[str, Any]:
        """Plain data without this machine's folders: a manifest is passed on to others."""
        plain = self.to_json()
        plain["data"] = {k: v for k, v in plain["data"].items() if k not in ("path", "paths")}
        for section, key in _FOLDERS:
            fields = plain.get(section)
            if fields and fields[key]:
                fields[key] = called(fields[key])
        return plain

    @property
    def captions(self) -> Texts | None:
        """How captions are made, where the network learns from them."""
        return None


@dataclass(frozen=True, kw_only=True)
class Config(Run):
    """A run that learns from pictures alone."""

    network: Network
    latent: Latents | None = None
    text: Texts | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.publish.sampler not in SAMPLERS:
            raise TrainingError(
                f"publish.sampler = {self.publish.sampler!r} comes by distillation; use one of "
                f"{', '.join(SAMPLERS)}"
            )
        if self.train.label_dropout == 0 and needs_null_class(self.publish.guidance_scale):
            raise TrainingError(
                f"publish.guidance_scale = {self.publish.guidance_scale} needs a null class, which "
                "train.label_dropout = 0 does not train; use 1, or drop some labels"
            )
        if self.latent is not None and self.diffusion.clip:
            raise TrainingError("diffusion.clip is for pixels; with [latent] set clip = false")
        if (self.latent is not None or self.text is not None) and self.publish.gate:
            raise TrainingError(
                "publish.gate judges classes of pixels; not with [latent] or [text]"
            )

    @property
    def captions(self) -> Texts | None:
        return self.text


def load_config(path: Path, *, name: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply ``section.key=value`` overrides (values as TOML writes them).

    Raises:
        TrainingError: no such file, broken TOML, or a key or value that does not belong.
    """
    return build_config(path, read_toml(path, overrides), name=name or path.stem)


def name_for(path: Path) -> str:
    """A model's name after a data set's, or another model's."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().name.split(".")[0].lower()).strip("-._")
    return name[:64] or "model"


def build_config(where: Path | str, raw: Mapping[str, Any], *, name: str) -> Config:
    """A configuration of plain data; ``where`` is what messages call it.

    Raises:
        TrainingError: a key or value that does not belong.
    """
    built = build_sections(
        where,
        raw,
        {
            "data": Data,
            "network": Network,
            "diffusion": Diffusion,
            "train": Train,
            "publish": Publish,
            "latent": Latents,
            "text": Texts,
        },
        optional=("publish", "latent", "text"),
    )
    return Config(name=name, **built)


def to_toml(config: Run) -> str:
    """The configuration as a file that `load_config` reads; what is left out is not in it."""
    lines = []
    for section, fields in config.to_json().items():
        if isinstance(fields, dict):
            lines += ["", f"[{section}]"]
            lines += [f"{k} = {_toml(value)}" for k, value in fields.items() if value is not None]
    return "\n".join(lines[1:]) + "\n"


def _toml(value: object) -> str:
    """A scalar or a list of them; JSON's are TOML's, where no character is escaped as two."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_toml(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """A TOML file (None: an empty one) with ``section.key=value`` overrides applied.

    Raises:
        TrainingError: no such file, broken TOML, or an override that is not of that form.
    """
    raw = {} if path is None else _parsed(path)
    for override in overrides:
        apply_override(raw, override)
    return raw


def build_sections(
    path: Path | str,
    raw: Mapping[str, Any],
    sections: Mapping[str, type[Any]],
    *,
    optional: Sequence[str] = (),
) -> dict[str, Any]:
    """Each section's dataclass; TrainingError names what does not belong."""
    unknown = sorted(set(raw) - set(sections))
    if unknown:
        raise TrainingError(
            f"{path} has an unknown section [{unknown[0]}]; known: {', '.join(sections)}"
        )
    return {
        key: _section(key, kind, raw.get(key, {}))
        for key, kind in sections.items()
        if key in raw or key not in optional
    }


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"configuration {path} cannot be read: {error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path} is not valid TOML: {error}") from error


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set a ``section.key=value`` in plain data; TrainingError where it is not of that form."""
    key, equals, value = override.partition("=")
    section, dot, field_name = key.strip().partition(".")
    if not (equals and dot and section and field_name):
        raise TrainingError(f"--set {override!r} is not of the form section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word: --set data.path=/some/where
    raw.setdefault(section, {})[field_name] = parsed


def _section(name: str, kind: type[Any], data: object) -> Any:
    if kind is Data and isinstance(data, dict) and type(data.get("size")) is int:
        data = {**data, "size": [data["size"]] * 2}  # a square's side
    try:
        return build(f"[{name}]", kind, data)
    except ValueError as error:
        raise TrainingError(str(error)) from error
