"""What may stand beside a network in its checkpoint: an autoencoder, a text encoder.

    <checkpoint>/vae/            config.json, diffusion_pytorch_model.safetensors
    <checkpoint>/text_encoder/   config.json, model.safetensors
    <checkpoint>/tokenizer/      the tokenizer's files

Folders as diffusers and transformers write them. A text encoder that is large and comes with an
installed package may stay there: its folder is then `package:NAME/PATH`, and the manifest records
the digests of the files there. Only words and paths are dealt with here; `models.autoencoder` and
`models.encoder` load.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PACKAGE = "package:"
AUTOENCODER = "vae"
ENCODER, TOKENIZER = "text_encoder", "tokenizer"
CONFIG = "config.json"
AUTOENCODER_WEIGHTS = "diffusion_pytorch_model.safetensors"
ENCODER_WEIGHTS = "model.safetensors"
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt"),
)


@dataclass(frozen=True, kw_only=True)
class Latent:
    """The network's pictures are latents of the autoencoder in `vae/`.

    Attributes:
        size, channels: (height, width) and channels of the pictures that it decodes to.
        scale: what its latents are multiplied by for the network, to have unit variance.
        preview: a linear guess at the pixels for each picture channel in turn: a weight for every
            channel of the scaled latents, then a constant.
    """

    size: tuple[int, int]
    channels: int
    scale: float
    preview: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.channels < 1 or self.scale <= 0:
            raise ValueError("latent.size and latent.channels are at least 1, latent.scale above 0")

    def check(self, *, channels: int, size: tuple[int, int]) -> None:
        """ValueError unless latents of these channels and this size can be meant."""
        factor = self.size[0] // size[0]
        if self.size != (size[0] * factor, size[1] * factor):
            raise ValueError(
                f"latent.size {self.size} is no whole multiple of the network's {size}"
            )
        if len(self.preview) != self.channels * (channels + 1):
            raise ValueError(
                f"latent.preview has {len(self.preview)} numbers, not {self.channels} x "
                f"({channels} + 1)"
            )


@dataclass(frozen=True, kw_only=True)
class Text:
    """The network's condition is the token states of a text encoder.

    Attributes:
        tokens: L; shorter texts are filled up, longer ones are cut.
        encoder, tokenizer: folders beside the manifest, or `package:NAME/PATH`.
        examples: captions that the model was trained on, or the like, for people to try.
    """

    tokens: int
    encoder: str = ENCODER
    tokenizer: str = TOKENIZER
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.tokens <= 512:
            raise ValueError(f"text.tokens = {self.tokens} is not in 2 ... 512")


def called(folder: str) -> str:
    """A package's folder as it is, another's own name: where it lay says nothing elsewhere."""
    return folder if folder.startswith(PACKAGE) else Path(folder).name


def locate(folder: Path, name: str) -> Path:
    """Where a file or folder that a manifest names is.

    Raises:
        ValueError: the name leads out of the checkpoint, or to a package that is not installed.
    """
    inside = PurePosixPath(name.removeprefix(PACKAGE))
    if not name or inside.is_absolute() or ".." in inside.parts or "\\" in name:
        raise ValueError(f"the manifest names {name!r}, which leads out of the checkpoint")
    if not name.startswith(PACKAGE):
        return folder / inside
    package, *rest = inside.parts
    # The top of a package is found without running it.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"the package {package}, which {name} is in, is not installed; install it with pip"
        )
    return Path(spec.submodule_search_locations[0]).joinpath(*rest)


def autoencoder_files(folder: Path) -> dict[str, Path]:
    """What a checkpoint holds of an autoencoder's folder: names in the checkpoint, and sources."""
    return _files(folder, AUTOENCODER, (CONFIG, AUTOENCODER_WEIGHTS))


def encoder_files(folder: Path, *, name: str = ENCODER) -> dict[str, Path]:
    """The same of a text encoder's; ``name`` is what the manifest calls the folder."""
    return _files(folder, name, (CONFIG, ENCODER_WEIGHTS))


def tokenizer_files(folder: Path, *, name: str = TOKENIZER) -> dict[str, Path]:
    """The same of a tokenizer's."""
    return _files(folder, name, (n for n in _TOKENIZER_FILES if (folder / n).is_file()))


def _files(folder: Path, name: str, files: Iterable[str]) -> dict[str, Path]:
    return {f"{name}/{file}": folder / file for file in files}
