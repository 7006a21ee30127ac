"""No right to write: one line that says so, before training begins. `test_saving` fills disks."""

import resource
from pathlib import Path

import pytest

from models.checkpoint import latest_step
from tests.training.data import CONFIG, write_idx
from training.__main__ import main


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    (tmp_path / "shapes.toml").write_text(CONFIG)
    data = write_idx(tmp_path / "data")
    config = ["train", str(tmp_path / "shapes.toml"), "--set", "train.report_every=100"]
    return [*config, "--data", str(data), "--device", "cpu"]


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
