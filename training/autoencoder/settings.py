"""An autoencoder's configuration: one TOML file, checked whole before anything starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from models.manifest import check_name
from training.config import build_sections, read_toml
from training.errors import TrainingError
from training.sections import Data


@dataclass(frozen=True, kw_only=True)
class Network:
    """`[autoencoder]`: the network's shape.

    Attributes:
        kind: "kl" is AutoencoderKL, "tiny" AutoencoderTiny, whose levels are all as wide.
        widths: channels of each level, finest first; each but the first halves the size.
        blocks: residual blocks per level (AutoencoderTiny has one at the finest).
        latent_channels: of the latents.
    """

    kind: Literal["kl", "tiny"] = "tiny"
    widths: tuple[int, ...] = (32, 32, 32)
    blocks: int = 2
    latent_channels: int = 4
    norm_groups: int = 32

    def __post_init__(self) -> None:
        limits = (*self.widths, self.blocks, self.latent_channels, self.norm_groups)
        if not self.widths or min(limits) < 1:
            raise TrainingError("[autoencoder] needs widths, blocks and channels of at least 1")
        if self.kind == "tiny" and len(set(self.widths)) > 1:
            raise TrainingError(
                f"autoencoder.widths = {list(self.widths)}: AutoencoderTiny's levels are as wide "
                'as one another; make them so, or set kind = "kl"'
            )
        if self.kind == "kl" and any(width % self.norm_groups for width in self.widths):
            raise TrainingError(
                f"autoencoder.widths = {list(self.widths)} are not divisible by norm_groups = "
                f"{self.norm_groups}"
            )

    @property
    def factor(self) -> int:
        """Pixels per latent, along each side."""
        return 1 << (len(self.widths) - 1)

    def words(self, data: Data) -> dict[str, Any]:
        """The network's ``config.json``, as diffusers has it."""
        levels = len(self.widths)
        both = {
            "in_channels": data.channels,
            "out_channels": data.channels,
            "latent_channels": self.latent_channels,
        }
        if self.kind == "tiny":
            counts = [1] + [self.blocks] * (levels - 1)
            return both | {
                "_class_name": "AutoencoderTiny",
                "encoder_block_out_channels": list(self.widths),
                "decoder_block_out_channels": list(self.widths),
                "num_encoder_blocks": counts,
                "num_decoder_blocks": counts[::-1],
            }
        return both | {
            "_class_name": "AutoencoderKL",
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "block_out_channels": list(self.widths),
            "layers_per_block": self.blocks,
            "norm_num_groups": self.norm_groups,
            "sample_size": data.size[0],
            "scaling_factor": 1.0,
        }


@dataclass(frozen=True, kw_only=True)
class Train:
    """`[train]`: the optimisation.

    Attributes:
        gradient_weight: of the error of the differences between neighbouring pixels.
        kl_weight: of what keeps latents small: the KL divergence from unit normal ones, or of
            AutoencoderTiny half of their square.
        equivariance: share of steps in which latents are scaled and turned, and must decode to the
            picture scaled and turned alike (EQ-VAE, arXiv:2502.09509).
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    ema_decay: float = 0.999
    gradient_weight: float = 1.0
    kl_weight: float = 1e-4
    equivariance: float = 0.25
    bf16: bool = True
    seed: int = 0
    report_every: int = 500
    save_every: int = 500

    def __post_init__(self) -> None:
        limits: list[tuple[str, float, float]] = [
            ("steps", 1, 1e9),
            ("batch_size", 1, 65536),
            ("learning_rate", 0, 1),
            ("warmup_steps", 0, 1e9),
            ("ema_decay", 0, 0.999999),
            ("gradient_weight", 0, 1e3),
            ("kl_weight", 0, 1e3),
            ("equivariance", 0, 1),
            ("seed", 0, 2**63 - 1),
            ("report_every", 1, 1e9),
            ("save_every", 1, 1e9),
        ]
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise TrainingError(f"train.{name} = {value} is not in {low:g} ... {high:g}")


@dataclass(frozen=True, kw_only=True)
class Captions:
    """`[text]`: what is held out together, as in the configuration of the model it is for.

    Attributes:
        caption: how a caption is made of `metadata.jsonl`'s fields.
        group: captions that are held out together, made alike; None: the same caption's pictures.
    """

    caption: str
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One autoencoder's training run."""

    name: str
    data: Data
    autoencoder: Network
    train: Train
    text: Captions | None = None

    def __post_init__(self) -> None:
        try:
            check_name(self.name)
        except ValueError as error:
            raise TrainingError(f"{error}; choose one with --name") from error
        factor = self.autoencoder.factor
        if any(side % factor for side in self.data.size):
            raise TrainingError(
                f"data.size = {list(self.data.size)} is not divisible by {factor}, which "
                f"{len(self.autoencoder.widths)} levels need"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the report and for resuming."""
        return asdict(self)


def load_settings(path: Path, *, name: str | None, overrides: Sequence[str]) -> Settings:
    """Read a TOML file and apply ``section.key=value`` overrides.

    Raises:
        TrainingError: no such file, broken TOML, or a key or value that does not belong.
    """
    sections = {"data": Data, "autoencoder": Network, "train": Train, "text": Captions}
    built = build_sections(path, read_toml(path, overrides), sections, optional=["text"])
    return Settings(name=name or path.stem, **built)
