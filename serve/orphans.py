"""Children do not outlive a supervisor that is killed (Linux; elsewhere they do)."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


def end_with_parent() -> None:
    """Ask for SIGTERM when the parent dies; to be called in the child before it runs a program."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
