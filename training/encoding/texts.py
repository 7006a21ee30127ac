"""Captions as a text encoder's states: encoded once each, mapped from disk from then on.

    <cache>/states/<key>.npy    (U, L, S) float16, of U captions in order, the empty one first

The key covers the encoder and the captions. All of it may be deleted at any time.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.checkpoint import file_sha256
from models.companions import (
    ENCODER,
    PACKAGE,
    TOKENIZER,
    Text,
    encoder_files,
    locate,
    tokenizer_files,
)
from models.encoder import EncoderError, TextEncoder, TextError, load_encoder
from training.encoding.compact import compacted
from training.errors import TrainingError
from training.pictures.cache import cache_folder, reserve
from training.sections import Texts

_VERSION = 1
_EXAMPLES = 8
_LONGEST_EXAMPLE = 1000  # characters, as many as a request's prompt may have


@dataclass(frozen=True)
class States:
    """What a network is told by captions.

    Attributes:
        values: (U, L, S), row i being caption i's.
        null: (L, S) of the empty text, which means "unconditional".
        text: what the manifest says of it.
        files: what a checkpoint holds for it.
        facts: which encoder it was.
    """

    values: npt.NDArray[np.float16]
    null: npt.NDArray[np.float16]
    text: Text
    files: Mapping[str, Path]
    facts: Mapping[str, str]


def folders(section: Texts) -> tuple[Path, Path]:
    """Where the encoder and its tokenizer are."""
    try:
        encoder = locate(Path(), section.encoder) if _packaged(section.encoder) else None
        name = section.tokenizer or section.encoder
        tokenizer = locate(Path(), name) if _packaged(name) else Path(name)
    except ValueError as error:
        raise TrainingError(f"[text] {error}") from error
    return encoder or Path(section.encoder), tokenizer


def _open(encoder: Path, tokenizer: Path, *, tokens: int, device: torch.device) -> TextEncoder:
    try:
        return load_encoder(encoder, tokenizer, tokens=tokens, device=device)
    except EncoderError as error:
        raise TrainingError(str(error)) from error


def encoded(
    captions: Sequence[str],
    section: Texts,
    *,
    device: torch.device,
    say: Callable[[str], None],
    fitted: Sequence[str] | None = None,
) -> States:
    """The captions' states, encoded now if they are not in the cache.

    Args:
        fitted: captions that a compact encoder is made small for; None: these.

    Raises:
        TrainingError: the encoder cannot be used or does not take a caption, or the cache cannot
            be written.
    """
    encoder, tokenizer = folders(section)
    if section.compact:
        encoder = tokenizer = compacted(encoder, tokenizer, fitted or captions, say=say)
    by_reference = section.store == "reference"
    files = encoder_files(encoder, name=section.encoder if by_reference else ENCODER)
    files |= tokenizer_files(tokenizer)
    try:
        digests = {name: file_sha256(path) for name, path in files.items()}
    except OSError as error:
        raise TrainingError(f"{error.filename} cannot be read: {error.strerror}") from error
    # A name can be in two places, a digest only in one: the same encoder has the same states.
    text = "\n".join([f"{_VERSION} {section.tokens}", *sorted(digests.values()), *captions])
    key = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
    path = cache_folder() / "states" / f"{key}.npy"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            say(f"encoding {len(captions)} captions (once, cached in {path.parent})")
            opened = _open(encoder, tokenizer, tokens=section.tokens, device=device)
            _encode_all(["", *captions], opened, path)
        values = np.load(path, mmap_mode="r")
    except OSError as error:
        raise TrainingError(
            f"the captions' states cannot be kept in {path.parent}: {error}; free some space, or "
            "set XDG_CACHE_HOME to a folder that has it"
        ) from error
    short = [caption for caption in captions if len(caption) <= _LONGEST_EXAMPLE]
    some = np.linspace(0, len(short) - 1, min(len(short), _EXAMPLES)).astype(int)
    return States(
        values=values[1:],
        null=values[0],
        text=Text(
            tokens=section.tokens,
            encoder=section.encoder if by_reference else ENCODER,
            tokenizer=TOKENIZER,
            examples=section.examples or tuple(short[i] for i in some),
        ),
        files=files,
        facts={name.rsplit("/")[-1]: digest for name, digest in sorted(digests.items())},
    )


def _encode_all(captions: Sequence[str], encoder: TextEncoder, path: Path) -> None:
    # A name of its own: another run may be encoding the same captions.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".part")
    os.close(handle)
    fresh = Path(name)
    shape = (len(captions), encoder.tokens, encoder.width)
    try:
        values = np.lib.format.open_memmap(fresh, mode="w+", dtype=np.float16, shape=shape)
        reserve(fresh)
        for index, caption in enumerate(captions):
            try:
                values[index] = encoder.encode(caption).states.cpu().numpy()
            except TextError as error:
                raise TrainingError(f"caption {caption[:80]!r}: {error}") from error
        values.flush()
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _packaged(name: str) -> bool:
    return name.startswith(PACKAGE)
