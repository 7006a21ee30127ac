"""How many places a step of one model's weights may take, as memory allows.

Fewer when memory runs out; doubled again after a while of good steps. A limit that memory runs
out at again and again is tried ever more seldom.
"""

import torch

_SMALLEST = 2  # a guided row
_TRIES_AT_THE_SMALLEST = 2
_STEPS_BEFORE_GROWTH = 64
_MOST_STEPS_BEFORE_GROWTH = 64 * 64


class OutOfMemory(Exception):
    """There is no memory for the fewest places that a step can have."""


def is_out_of_memory(error: Exception) -> bool:
    """Torch says so with a type on CUDA, and with words on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


class Room:
    """Places that a step may take now, at most ``most``."""

    def __init__(self, most: int) -> None:
        self.places = self._most = max(most, _SMALLEST)
        self._good_steps = 0
        self._patience = _STEPS_BEFORE_GROWTH
        self._grew = False
        self._failures = 0  # in a row, of a step that could not be smaller

    def ran_out(self, *, smaller: int) -> bool:
        """Memory ran out: from now on at most ``smaller`` places, if a step can have so few.

        Returns:
            Whether the step is worth another try: it is smaller now, or the lack may have passed.
        """
        if self._grew:
            self._patience = min(2 * self._patience, _MOST_STEPS_BEFORE_GROWTH)
        self._good_steps, self._grew = 0, False
        if smaller >= _SMALLEST:
            self.places = smaller
            return True
        self._failures += 1
        return self._failures <= _TRIES_AT_THE_SMALLEST

    def step_went_well(self) -> None:
        """Note it; after enough of them there may be more places."""
        self._failures = 0
        if self.places == self._most:
            return
        self._good_steps += 1
        if self._good_steps >= self._patience:
            self._good_steps, self._grew = 0, True
            self.places = min(2 * self.places, self._most)
