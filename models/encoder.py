"""Texts to the states that a network looks at: transformers' CLIPTextModel or BertModel.

transformers is imported here alone, when an encoder is loaded (the extra `text`). Only
safetensors are read, and nothing of a folder is run. Weights may be stored in eight bits
(`models.int8`), which transformers itself does not read. Knows nothing of manifests or engines.

Shapes: L tokens, S channels. Each text is encoded alone, so its states depend on nothing else.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.companions import CONFIG, ENCODER_WEIGHTS
from models.int8 import dequantise, is_quantised


@dataclass(frozen=True)
class _Kind:
    """How an architecture is used.

    Attributes:
        fills: whether the states of the tokens that fill a text up are kept, as Stable Diffusion
            was trained to see them; else nobody looks at these tokens, and their states are zero.
    """

    model: str
    tokenizer: str
    options: dict[str, Any]
    fills: bool


_KINDS = {
    "clip_text_model": _Kind("CLIPTextModel", "CLIPTokenizer", {}, fills=True),
    "bert": _Kind("BertModel", "BertTokenizer", {"add_pooling_layer": False}, fills=False),
}


class EncoderError(Exception):
    """A folder's text encoder cannot be used; the message says why and what to do."""


class TextError(ValueError):
    """A text cannot be encoded; the message says why."""


@dataclass(frozen=True)
class Encoded:
    """A text as a network sees it: states (L, S) float32, and whether its end was cut off."""

    states: Tensor
    cut: bool


class TextEncoder:
    """A frozen text encoder with its tokenizer.

    Attributes:
        tokens: L.
        width: S.
    """

    def __init__(self, model: Any, tokenizer: Any, *, tokens: int, fills: bool) -> None:
        self._model = model.eval().requires_grad_(requires_grad=False)
        self._tokenizer, self._fills = tokenizer, fills
        self.tokens = tokens
        self.width: int = model.config.hidden_size

    @torch.inference_mode()
    def encode(self, text: str) -> Encoded:
        """The states of one text.

        Raises:
            TextError: half of a surrogate pair in it, or states that are no numbers.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(
                f"character {error.start} of the text is half of a surrogate pair; send whole "
                "characters"
            ) from error
        whole = len(self._tokenizer(text, verbose=False)["input_ids"])
        fitted = self._tokenizer(
            text,
            padding="max_length",
            truncation=True,
            max_length=self.tokens,
            return_tensors="pt",
        )
        device = self._model.device
        ids, mask = fitted["input_ids"].to(device), fitted["attention_mask"].to(device)
        output = self._model(ids, attention_mask=None if self._fills else mask)
        states: Tensor = output.last_hidden_state[0].float()
        if not bool(torch.isfinite(states).all()):
            raise TextError("the text encoder gave states that are no numbers")
        if not self._fills:
            states = states * mask[0, :, None]
        return Encoded(states, whole > self.tokens)

    def token_ids(self, texts: Iterable[str]) -> set[int]:
        """The tokens that these texts have, and those that every text may have."""
        ids = set(self._tokenizer.all_special_ids)
        for text in texts:
            ids.update(self._tokenizer(text, verbose=False)["input_ids"])
        return ids

    def save_tokenizer(self, folder: Path, *, vocabulary: Path) -> None:
        """Write a tokenizer like this one that knows only the tokens in a file, one a line."""
        options = {
            name: self._tokenizer.init_kwargs[name]
            for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
            if name in self._tokenizer.init_kwargs
        }
        type(self._tokenizer)(vocab=str(vocabulary), **options).save_pretrained(folder)


def load_encoder(
    folder: Path, tokenizer: Path, *, tokens: int, device: str | torch.device = "cpu"
) -> TextEncoder:
    """A text encoder and its tokenizer from folders that transformers could read, in float32.

    Raises:
        EncoderError: no such folder, another architecture, damaged or incomplete weights, fewer
            positions than ``tokens``, or transformers is not installed.
    """
    kind, config = _read_kind(folder)
    positions, known = (config.get(key, 0) for key in ("max_position_embeddings", "vocab_size"))
    if not isinstance(positions, int) or not isinstance(known, int):
        raise EncoderError(
            f"{folder / CONFIG}: max_position_embeddings = {positions!r} and vocab_size = "
            f"{known!r} must be whole numbers; fetch it again"
        )
    if positions < tokens:
        raise EncoderError(
            f"{folder / CONFIG}: {positions} positions are fewer than {tokens} tokens; ask for "
            "fewer tokens"
        )
    if not (folder / ENCODER_WEIGHTS).is_file():
        raise EncoderError(
            f"{folder} has no {ENCODER_WEIGHTS}; only whole safetensors are read: write it again "
            "with save_pretrained where you trust it"
        )
    try:
        import transformers
    except ImportError as error:
        raise EncoderError(
            "text encoders need transformers; install it: pip install transformers"
        ) from error
    with _quiet(transformers), _damage_is_an_encoder_error(folder):
        architecture = getattr(transformers, kind.model)
        weights = load_file(folder / ENCODER_WEIGHTS)
        source: dict[str, Any] = {"pretrained_model_name_or_path": folder}
        if is_quantised(weights):
            source = {
                "pretrained_model_name_or_path": None,
                "config": architecture.config_class.from_dict(config),
                "state_dict": dequantise(weights),
            }
        model, info = architecture.from_pretrained(
            **source,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            **kind.options,
        )
    with _quiet(transformers), _damage_is_an_encoder_error(tokenizer):
        words = getattr(transformers, kind.tokenizer).from_pretrained(
            tokenizer, local_files_only=True
        )
    if info["missing_keys"]:
        raise EncoderError(
            f"{folder / ENCODER_WEIGHTS} lacks tensor {min(info['missing_keys'])}; fetch it again"
        )
    if len(words) > known:
        raise EncoderError(
            f"{tokenizer} knows {len(words)} tokens, {folder} only {known}: they do not belong "
            "together"
        )
    return TextEncoder(model.to(device), words, tokens=tokens, fills=kind.fills)


def _read_kind(folder: Path) -> tuple[_Kind, dict[str, Any]]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(
            f"{folder / CONFIG} is no text encoder's description: {error}; give the folder of one "
            "as transformers writes it"
        ) from error
    name = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in _KINDS:
        raise EncoderError(
            f"{folder / CONFIG}: model_type = {name!r} is not supported; supported: "
            f"{', '.join(_KINDS)}"
        )
    if config.get("use_attention_mask") and _KINDS[name].fills:
        raise EncoderError(f"{folder / CONFIG}: use_attention_mask = true is not supported")
    return _KINDS[name], config


@contextmanager
def _damage_is_an_encoder_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers and tokenizers raise whatever the files provoke
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EncoderError(f"{folder} cannot be read: {lines[0]}") from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bar and no report of tensors that are not needed."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
