"""`emaki train`: training's command, which finds what came along by name."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from emaki import shipped
from emaki.command.program import program
from models.checkpoint import read_manifest, resolve
from tests.training.pictures.test_sources import png, write

SMALL = ["train.batch_size=2", "publish.steps=1"]


@pytest.mark.parametrize("given", [["--init-from", "mnist"], ["--init-from=mnist"]])
def test_a_run_begins_from_a_model_that_came_along_by_its_name(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {f"ten/{index}.png": png(index, (28, 28)) for index in range(4)})
    small = [word for option in SMALL for word in ("--set", option)]
    command = ["train", "pictures", *given, "--until", "1", "--device", "cpu", *small]
    answer = CliRunner().invoke(program, command)
    assert answer.exit_code == 0, answer.output
    (parent,) = read_manifest(resolve(tmp_path / "checkpoints/pictures")).training["lineage"]
    assert parent["model"] == read_manifest(resolve(shipped.MODELS / "mnist")).version


def test_a_model_of_ones_own_goes_before_one_that_came_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"1.png": png(1)})
    own = tmp_path / "checkpoints/mnist"
    own.mkdir(parents=True)
    (own / "LATEST").write_text("broken")
    answer = CliRunner().invoke(program, ["train", "pictures", "--init-from", "mnist"])
    assert answer.exit_code == 2
    assert "checkpoints/mnist/LATEST says 'broken'" in answer.stderr


def test_a_model_that_is_nowhere_is_said_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"1.png": png(1)})
    answer = CliRunner().invoke(program, ["train", "pictures", "--init-from", "mnits"])
    assert answer.exit_code == 2
    assert "mnits holds neither manifest.json nor LATEST" in answer.stderr
