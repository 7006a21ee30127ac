"""A BERT made small for given captions: fewer tokens, and weights of eight bits.

Most of a small encoder is its table of tokens, most of which no caption has. Kept are those that
the captions have, and single characters, which any other word falls into. Written once:

    <cache>/encoders/<key>/   as transformers writes an encoder and its tokenizer

The network learns from this encoder's states, so there is no difference to make good later.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import file_sha256
from models.companions import CONFIG, ENCODER_WEIGHTS
from models.encoder import EncoderError, load_encoder
from models.int8 import quantise
from training.errors import TrainingError
from training.pictures.cache import cache_folder, fresh_folder

_VERSION = 1
_EMBEDDINGS = "embeddings.word_embeddings.weight"
_VOCABULARY = "vocab.txt"
_CONTINUED = "##"


def compacted(
    encoder: Path, tokenizer: Path, captions: Sequence[str], *, say: Callable[[str], None]
) -> Path:
    """The folder of the small encoder and its tokenizer, written now if it is not in the cache.

    Raises:
        TrainingError: the encoder cannot be used, or is no BERT with a `vocab.txt`.
    """
    try:
        digests = [file_sha256(encoder / ENCODER_WEIGHTS), file_sha256(tokenizer / _VOCABULARY)]
        words = json.loads((encoder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"text.compact needs a BERT with {_VOCABULARY}, which {encoder} is not: {error}"
        ) from error
    if words.get("model_type") != "bert":
        raise TrainingError(
            f"text.compact is for BERT; {encoder} is {words.get('model_type')!r}: leave it out"
        )
    text = "\n".join([f"{_VERSION}", *digests, *captions])
    key = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
    parent = cache_folder() / "encoders"
    if not (parent / key).is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        with fresh_folder(parent, key) as fresh:
            kept, of = _write(encoder, tokenizer, captions, words, fresh)
        say(f"the encoder keeps {kept} of {of} tokens, in eight bits ({parent / key})")
    return parent / key


def _write(
    encoder: Path,
    tokenizer: Path,
    captions: Sequence[str],
    words: dict[str, object],
    fresh: Path,
) -> tuple[int, int]:
    try:
        whole = load_encoder(encoder, tokenizer, tokens=2)
    except EncoderError as error:
        raise TrainingError(str(error)) from error
    vocabulary = (tokenizer / _VOCABULARY).read_text(encoding="utf-8").splitlines()
    used = whole.token_ids(captions)
    kept = [
        index
        for index, token in enumerate(vocabulary)
        if index in used or len(token.removeprefix(_CONTINUED)) == 1
    ]
    tokens = "\n".join(vocabulary[index] for index in kept) + "\n"
    (fresh / _VOCABULARY).write_text(tokens, encoding="utf-8")
    whole.save_tokenizer(fresh, vocabulary=fresh / _VOCABULARY)
    weights = load_file(encoder / ENCODER_WEIGHTS)
    prefix = next(name for name in weights if name.endswith(_EMBEDDINGS)).removesuffix(_EMBEDDINGS)
    weights = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if value.is_floating_point() and "pooler." not in name
    }
    weights[_EMBEDDINGS] = weights[_EMBEDDINGS][torch.tensor(kept)]
    save_file(quantise(weights), fresh / ENCODER_WEIGHTS, metadata={"format": "pt"})
    (fresh / ENCODER_WEIGHTS).chmod(0o644)
    (fresh / CONFIG).write_text(json.dumps({**words, "vocab_size": len(kept)}), encoding="utf-8")
    return len(kept), len(vocabulary)
