"""What pictures are drawn for: a request's classes or words as tensors.

Words are encoded, up to what a network asks of them at every step, apart from the threads that draw
and that talk to Redis. What was encoded lately is kept: the same words are asked for again and
again. An encoder that fails fails the request that asked, and no other.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.encoder import TextEncoder

_KEPT = 256  # prompts; 41 kB each of 24 tokens in bfloat16, where a network asks 432 channels


@dataclass(frozen=True)
class Conditions:
    """What each picture is drawn for, None: for nothing.

    Attributes:
        negative: what guidance leads all of them away from; None: from nothing in particular.
        cut: indices of pictures whose prompt was too long, -1: the negative one.
    """

    each: tuple[Tensor | None, ...]
    negative: Tensor | None = None
    cut: tuple[int, ...] = ()


class Words:
    """One model's text encoder, and what its network makes of the states."""

    def __init__(self, encoder: TextEncoder, listen: Callable[[Tensor], Tensor]) -> None:
        self._encoder, self._listen = encoder, listen
        self._encode = lru_cache(maxsize=_KEPT)(self._heard)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    def conditions(self, prompts: Sequence[str | None], negative: str | None) -> Future[Conditions]:
        """What the network asks of each prompt; or, when asked for, what went wrong."""
        return self._thread.submit(self._conditions, (*prompts, negative))

    @torch.inference_mode()
    def _heard(self, text: str) -> tuple[Tensor, bool]:
        encoded = self._encoder.encode(text)
        return self._listen(encoded.states), encoded.cut

    def _conditions(self, texts: tuple[str | None, ...]) -> Conditions:
        encoded = [None if text is None else self._encode(text) for text in texts]
        cut = [i for i, one in enumerate(encoded) if one is not None and one[1]]
        *each, negative = (None if one is None else one[0] for one in encoded)
        last = len(texts) - 1
        return Conditions(tuple(each), negative, tuple(-1 if i == last else i for i in cut))


def of_classes(labels: Sequence[int | None], negative: int | None = None) -> Future[Conditions]:
    """The same of classes, there at once."""
    here: Future[Conditions] = Future()
    *each, away = (None if label is None else torch.tensor(label) for label in (*labels, negative))
    here.set_result(Conditions(tuple(each), away))
    return here
