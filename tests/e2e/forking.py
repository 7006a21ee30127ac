"""Processes that need not import anything: forked from one that has, so that a test waits less.

Each is as real as `python -m MODULE`: a pid, memory, signals and an end of its own. Importing torch
costs more than most tests do; `tests/serve` starts the commands themselves.

    python -m tests.e2e.forking app.__main__      one line of JSON in, one out, until stdin ends
"""

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

_ROOT = Path(__file__).parents[2]
_LOOK_EVERY = 0.02


class Process(Protocol):
    """What the tests use of a `subprocess.Popen`."""

    pid: int

    @property
    def args(self) -> Any: ...
    @property
    def returncode(self) -> int | Any: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """A child of the process that has everything imported; used like a `subprocess.Popen`."""

    def __init__(self, origin: "Origin", module: str, pid: int) -> None:
        self.args = [sys.executable, "-m", module]
        self.pid = pid
        self.returncode: int | None = None
        self._origin = origin

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._origin.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(_LOOK_EVERY)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Origin:
    """The process that others are forked from; it ends with this one.

    Args:
        imported: modules that it imports before the first fork.
    """

    def __init__(self, *imported: str) -> None:
        self._imported = imported
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, module: str, environment: Mapping[str, str], log: Path) -> Forked:
        """`python -m MODULE` with its output appended to `log`."""
        log.touch()
        return Forked(self, module, self.ask(run=module, env=dict(environment), log=str(log)))

    def ask(self, **question: Any) -> Any:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, *self._imported],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=_ROOT,
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


def main() -> None:
    """Fork when asked; the child returns from here into its own module and ends as Python does."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # or every child's first collection would copy it all
    for line in sys.stdin.buffer:
        question = json.loads(line)
        if "poll" in question:
            answer = _ended(question["poll"])
        elif (answer := os.fork()) == 0:
            _become(question)
            return
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _become(question: Mapping[str, Any]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(question["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    os.environ.clear()
    os.environ.update(question["env"])
    module = question["run"]
    sys.argv = [module]
    sys.modules.pop(f"{module}.__main__", None)  # it is to run, not to be there already
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
