"""How this process's memory is given back: not between steps."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of <malloc.h>
_MIB = 1 << 20


def keep_freed_memory() -> None:
    """Let freed memory wait for its next use instead of returning to the system.

    A step allocates the same activations as the one before. By default glibc returns many of them
    at its end, and the next step waits for the kernel to clear thousands of pages again. Other C
    libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, 32 * _MIB)  # as much as every version allows
    mallopt(_TRIM_THRESHOLD, 2048 * _MIB - 1)
    mallopt(_TOP_PAD, 64 * _MIB)  # an arena's size: keep the emptied ones
