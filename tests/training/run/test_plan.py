"""A folder without a configuration: what is chosen, said and written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import read_manifest, resolve
from training.__main__ import main
from training.config import load_config, to_toml
from training.errors import TrainingError
from training.pictures.mixture import Asked
from training.run.glance import glance
from training.run.plan import plan

# A small network and a short schedule: what is chosen besides is the same.
SMALL = ["--set", "network.base=4", "--set", "network.norm_groups=4", "--set", "train.batch_size=4"]


def photos(folder: Path, *, count: int = 12, size: tuple[int, int] = (40, 30)) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return folder


@pytest.mark.parametrize("given", [["My Photos 2026"], ["--data", "My Photos 2026"]])
def test_a_folder_of_photos_is_trained_on_with_one_command(
    given: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "My Photos 2026")
    command = ["train", *given, "--device", "cpu", *SMALL]
    assert main([*command, "--until", "1", "--set", "train.report_every=1"]) == 0
    said = capsys.readouterr()
    assert "pictures: 24x24 colour, of 12 whose shorter side has 30 to 30 pixels, mirrored" in (
        said.err
    )
    assert "network: a small one, 4 channels x [1, 2, 4, 4]" in said.err
    assert " s a step on cpu about " in said.err
    folder = tmp_path / "checkpoints/my-photos-2026"
    assert (folder / "report.html").is_file()
    config = load_config(folder / "my-photos-2026.toml")
    assert config.data.size == (24, 24)
    assert config.data.paths == ("My Photos 2026=1",)
    # The data is known from the file, and the schedule stays as it was.
    steps = config.train.steps
    assert main(["train", *given, "--resume", "--until", "2"]) == 0
    manifest = read_manifest(resolve(folder))
    assert (manifest.step, manifest.training["config"]["train"]["steps"]) == (2, steps)


def test_the_file_is_the_configuration(tmp_path: Path) -> None:
    preset = load_config(Path(__file__).parents[3] / "configs/emoji-64.toml")
    path = tmp_path / "emoji-64.toml"
    path.write_text(to_toml(preset), encoding="utf-8")
    assert load_config(path) == preset


@pytest.mark.parametrize(
    ("size", "expected"),
    [((28, 28), (28, 28)), ((32, 24), (24, 32)), ((500, 300), (32, 32)), ((20, 11), (16, 16))],
)
def test_the_size_is_the_pictures_own_or_a_square_that_they_fill(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr("training.run.plan.os.cpu_count", lambda: 2)
    asked = [Asked(photos(tmp_path / "data", count=3, size=size))]
    small = ["network.base=4", "network.norm_groups=4", "train.batch_size=2"]
    config, _ = plan(asked, name="x", device=torch.device("cpu"), overrides=small)
    assert config.data.size == expected


@pytest.mark.parametrize(
    ("size", "multipliers", "attention"),
    [("24", (1, 2, 4, 4), 6), ("[28, 20]", (1, 2, 4), 14), ("6", (1, 2), 6), ("5", (1,), 5)],
)
def test_the_network_has_the_levels_that_a_chosen_size_allows(
    tmp_path: Path, size: str, multipliers: tuple[int, ...], attention: int
) -> None:
    asked = [Asked(photos(tmp_path / "data", count=3, size=(300, 300)))]
    small = ["network.base=4", "network.norm_groups=4", "train.batch_size=2"]
    overrides = [*small, f"data.size={size}"]
    config, _ = plan(asked, name="x", device=torch.device("cpu"), overrides=overrides)
    assert (config.network.multipliers, config.network.attention) == (multipliers, (attention,))


def test_grey_pictures_have_one_channel_and_are_not_mirrored(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    Image.new("L", (16, 16)).save(path / "a.png")
    seen = glance([Asked(path)], "label")
    assert (seen.channels, seen.classes, seen.transparent) == (1, 0, False)


def test_what_cannot_be_planned_for_is_said(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "a.png").write_bytes(b"")
    with pytest.raises(TrainingError, match="none of the pictures that were looked at can be read"):
        glance([Asked(path)], "label")


def test_several_processes_need_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    photos(tmp_path / "data")
    assert main(["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 2
    assert "give torchrun a configuration" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "no data: give --data PATH" in capsys.readouterr().err
