"""No room, or no right to write: one line that says so, and the checkpoints before stay whole."""

import resource
from pathlib import Path

import pytest

from models.checkpoint import latest_step, load_model, steps_of
from tests.training.data import CONFIG, write_idx
from training.__main__ import main


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    (tmp_path / "shapes.toml").write_text(CONFIG)
    data = write_idx(tmp_path / "data")
    config = ["train", str(tmp_path / "shapes.toml"), "--set", "train.report_every=100"]
    return [*config, "--data", str(data), "--device", "cpu"]


def test_a_full_disk_is_one_line_and_the_checkpoint_before_goes_on(
    tmp_path: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "checkpoints"
    assert main([*run, "--out", str(out), "--until", "4"]) == 0
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files may not grow beyond this: to a program the same as a disk without space.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert main([*run, "--out", str(out), "--resume"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert "ema.safetensors cannot be written" in line
    assert "make room and resume" in line
    assert (steps_of(out / "shapes"), latest_step(out / "shapes")) == ([4], 4)
    assert not list((out / "shapes").glob(".tmp*"))
    load_model(out / "shapes")
    assert main([*run, "--out", str(out), "--resume"]) == 0
    assert latest_step(out / "shapes") == 12


def test_a_folder_that_cannot_be_written_is_named_before_training(
    tmp_path: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([*run, "--out", str(tmp_path / "file" / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written (Not a directory); mount it writable" in line


def test_publishing_where_nothing_can_be_written_is_one_line(
    tmp_path: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "checkpoints"
    assert main([*run, "--out", str(out), "--until", "4"]) == 0
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        assert main(["publish", "shapes", "4", "--out", str(out)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "File too large" in line
    assert latest_step(out / "shapes") == 4
