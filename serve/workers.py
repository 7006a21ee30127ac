"""`python -m serve.workers`: one worker per GPU (or EMAKI_WORKERS of them), and nothing else.

What a container with several GPUs runs; `python -m serve` starts the same ones. Where there is no
GPU it is one worker with all cores; several share them.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from serve.children import Child, say

_MOST = 64
_DEVICES = Path("/dev")


class WorkersError(Exception):
    """EMAKI_WORKERS cannot be."""


def environments(
    environment: Mapping[str, str], *, devices: Path = _DEVICES
) -> list[dict[str, str]]:
    """The environment of each worker to start.

    Raises:
        WorkersError: EMAKI_WORKERS is no number from 1 to 64.
    """
    gpus = _gpus(environment, devices)
    wanted = environment.get("EMAKI_WORKERS") or str(max(1, gpus))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _MOST:
        raise WorkersError(
            f"EMAKI_WORKERS={wanted!r} is no number of workers; set 1 to {_MOST}, or nothing for "
            "one per GPU"
        )
    count = int(wanted)
    found = [dict(environment) for _ in range(count)]
    for place, its in enumerate(found):
        if gpus and count > 1:
            its["EMAKI_DEVICE"] = f"cuda:{place % gpus}"
        elif count > 1 and not environment.get("EMAKI_THREADS"):
            its["EMAKI_THREADS"] = str(max(1, _cores() // count))
    return found


def _gpus(environment: Mapping[str, str], devices: Path) -> int:
    """CUDA devices that workers may use: 0 where another device was chosen."""
    if environment.get("EMAKI_DEVICE") not in (None, "", "auto", "cuda"):
        return 0
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len([device for device in devices.glob("nvidia*") if device.name[6:].isdecimal()])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> int:
    """Run until told to stop; 0 then, 2 when a worker cannot run with these settings."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _signal, _frame: stop.set())
    try:
        children = [Child("worker", its) for its in environments(os.environ)]
    except WorkersError as error:
        say(f"error: {error}")
        return 2
    code = 0
    try:
        for child in children:
            child.start()
        while not code and not stop.wait(0.2):
            codes = [child.look_after() for child in children]
            code = next((code for code in codes if code is not None), 0)
    finally:
        for child in children:
            if child.process is not None:
                child.process.terminate()
        for child in children:
            child.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())
