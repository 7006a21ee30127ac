"""Prompts to what a network looks at, apart from the threads that draw and that talk to Redis.

What was encoded lately is kept: the same words are asked for again and again. An encoder that fails
fails the request that asked, and no other.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

from torch import Tensor

from models.encoder import TextEncoder

_KEPT = 256  # prompts; 37 kB each of 24 tokens by 384


class Words:
    """One model's text encoder."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encode = lru_cache(maxsize=_KEPT)(encoder.encode)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    def states(self, texts: Sequence[str | None]) -> Future[list[Tensor | None]]:
        """(L, S) of each text in turn, None of None; or, when asked for, what went wrong."""
        return self._thread.submit(self._states, tuple(texts))

    def _states(self, texts: tuple[str | None, ...]) -> list[Tensor | None]:
        return [None if text is None else self._encode(text).states for text in texts]
