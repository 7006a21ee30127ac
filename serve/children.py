"""Python modules that should be running: started, started again when they die, stopped.

Knows no Redis and no settings.
"""

import subprocess
import sys
import time
from dataclasses import dataclass, field

from serve.orphans import end_with_parent

_STOP_SECONDS = 15
_LONGEST_PAUSE = 10.0
_SETTINGS_ERROR = 2


@dataclass
class Child:
    """A Python module that should be running."""

    module: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.5
    not_before: float = field(default=0.0)

    def start(self) -> None:
        """Run the module in a process group of its own, so that Ctrl-C reaches only us."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own modules
            [sys.executable, "-m", self.module],
            env=self.environment,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads here
        )

    def look_after(self) -> int | None:
        """Start it again if it died; the exit code of one that cannot work with its settings."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return None
        if code == _SETTINGS_ERROR:
            return code
        now = time.monotonic()
        if not self.not_before:
            lived = now - self.started
            self.pause = 0.5 if lived > 60 else min(self.pause * 2, _LONGEST_PAUSE)
            self.not_before = now + self.pause
            say(f"{self.module} ended with {code}; starting it again in {self.pause:.0f} s")
        elif now >= self.not_before:
            self.not_before = 0.0
            self.start()
        return None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{self.module} did not stop within {_STOP_SECONDS} s; killing it")
            self.process.kill()
            self.process.wait()


def say(text: str) -> None:
    """One line to whoever started this."""
    print(f"emaki: {text}", file=sys.stderr, flush=True)
