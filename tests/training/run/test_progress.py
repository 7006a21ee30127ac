"""What a person sees of a run: a line in a log, a bar on a terminal, curves while there is room."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.run.progress import Progress


def test_a_line_says_pictures_per_second_and_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 110.0, 111.0, 150.0])
    fake = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("training.run.progress.time", fake)
    with Progress(start=10, until=5000, batch_size=8) as shown:
        assert shown.update(15, loss=0.25, last=False) == 4  # 5 steps of 8 in 10 s
        shown.update(20, loss=0.25, last=False)
        assert capsys.readouterr().err == ""  # half a minute has not passed
        shown.update(35, loss=0.125, last=False)
    said = "step 35/5000  loss 0.1250  4 pictures/s  ETA 2:45:30\n"
    assert capsys.readouterr().err == said


BAR = """
from training.run.progress import Progress
with Progress(start=0, until=4, batch_size=8) as shown:
    shown.update(2, loss=0.5, last=False)
    shown.note("a line that stays")
    shown.update(4, loss=0.5, last=True)
"""


def test_a_terminal_on_standard_error_shows_a_bar_and_standard_output_stays_clean() -> None:
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-c", BAR],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the terminal's end
        pass
    finally:
        os.close(ours)
    assert ran.stdout == b""
    assert b"4/4" in shown
    assert b"a line that stays" in shown


CURVES = """
import resource, sys
from pathlib import Path
from training.run.scalars import Scalars

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as on a full disk
with Scalars(Path(sys.argv[1]), first_step=0, wanted=True, say=print) as scalars:
    for step in range(20_000):
        scalars.add(step, loss=0.5, gradient_norm=1.0)
print("the run went on")
"""


def test_a_full_disk_ends_the_curves_and_says_so_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    command = [sys.executable, "-c", CURVES, str(tmp_path)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    *warnings, end = ran.stdout.splitlines()
    for name, warning in zip(("TensorBoard", "metrics.jsonl"), sorted(warnings), strict=True):
        assert warning.startswith(f"warning: no more curves for {name} (")
        assert "File too large" in warning
    assert end == "the run went on"
