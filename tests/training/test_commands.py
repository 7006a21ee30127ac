"""`python -m training` as a person runs it: a run and a whole evaluation as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from models.checkpoint import latest_step, read_manifest
from tests.training.data import CONFIG, write_idx
from training.__main__ import main

EVALUATE = ["evaluate", "checkpoints/shapes", "--data", "data"]


def training(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    (folder / "shapes.toml").write_text(CONFIG)
    write_idx(folder / "data", train=600, test=120)
    answer = training(folder, "train", "shapes.toml", "--data", "data", "--set", "publish.keep=9")
    assert answer.returncode == 0, answer.stderr
    assert "steps 0 to 12 on cpu" in answer.stdout
    assert "step 12/12  loss" in answer.stderr
    return folder


def test_a_grid_can_be_drawn_without_the_service(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    drawing = ["sample", "checkpoints/shapes", "--class", "all", "--batch", "2", "--out", "g.png"]
    assert main(drawing) == 0
    with Image.open(trained / "g.png") as image:
        assert image.size == (2 * 20 - 4, 3 * 20 - 4)  # a row per class


def test_a_strip_can_be_drawn(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    drawing = ["sample", "checkpoints/shapes", "--class", "cross", "--strip", "4"]
    assert main([*drawing, "--out", "s.png"]) == 0
    with Image.open(trained / "s.png") as image:
        assert image.size == (4 * 20 - 4, 16)


def test_latest_is_moved_by_publish(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    assert main(["publish", "shapes", "8"]) == 0
    assert latest_step(trained / "checkpoints" / "shapes") == 8
    assert main(["publish", "shapes", "12"]) == 0


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it was trained: the working directory, with the caches of that process."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("XDG_CACHE_HOME", str(trained / "cache"))
    return trained


def test_evaluate_measures_and_notes_class_agreement(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*EVALUATE, "--images", "30", "--json", "--metrics", "agreement"]
    assert main(arguments) == 0
    answer = capsys.readouterr()
    assert "training the classifier" in answer.err
    measured = json.loads(answer.out)["class_agreement"]
    assert measured["real"] > 0.9
    assert measured["ratio"] == pytest.approx(measured["drawn"] / measured["real"], abs=1e-3)
    noted = read_manifest(here / "checkpoints/shapes/0000012").quality["class_agreement"]
    assert noted["drawn"] == measured["drawn"]
    assert (noted["images"], noted["steps"], noted["guidance_scale"]) == (30, 5, 1.5)

    assert main([*arguments, "--guidance-scale", "0"]) == 0
    again = capsys.readouterr()
    assert "training the classifier" not in again.err
    chance = json.loads(again.out)["class_agreement"]
    assert chance["guidance_scale"] == 0
    noted = read_manifest(here / "checkpoints/shapes/0000012").quality["class_agreement"]
    assert noted["guidance_scale"] == 1.5  # only the defaults' figure is the model's


def test_evaluate_measures_everything_that_the_data_allows(here: Path) -> None:
    answer = training(here, *EVALUATE, "--html", "page.html")
    assert answer.returncode == 0, answer.stderr
    for figure in (
        "120 pictures, dpmpp_2m, 5 steps, guidance 1.5; 10 evaluations a picture",
        "Fréchet distance",
        "KID",
        "recall",
        "density",
        "classification accuracy score",
        "class agreement",
        "nearer than an unseen real one",
    ):
        assert figure in answer.stdout
    assert (here / "page.html").read_text().startswith("<!doctype html>")
    noted = read_manifest(here / "checkpoints/shapes/0000012").quality
    one = noted["evaluation"]["features"]["classifier"]
    # Twelve steps teach little: noise is far away, and covers none of the real pictures.
    assert one["frechet_ratio"] > 5
    assert one["precision"]["real"] > 0.7 > one["precision"]["drawn"]
    assert noted["class_agreement"]["images"] == 120

    # Another extractor, as many pictures: its figures come beside what is there.
    assert main([*EVALUATE, "--metrics", "distances", "--extractor", "efficientnet"]) == 0
    both = read_manifest(here / "checkpoints/shapes/0000012").quality["evaluation"]
    assert set(both["features"]) == {"classifier", "efficientnet"}
    assert both["classification_accuracy"] == noted["evaluation"]["classification_accuracy"]
    # Agreement alone leaves an evaluation of more pictures as it is.
    assert main([*EVALUATE, "--metrics", "agreement", "--images", "30"]) == 0
    after = read_manifest(here / "checkpoints/shapes/0000012").quality
    assert after["evaluation"] == both
    assert after["class_agreement"]["images"] == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "shapes.toml"], "no data: give --data PATH"),
        (["train", "shapes.toml", "--name", "x", "--data", "nowhere"], "nowhere does not exist"),
        (["train", "shapes.toml", "--data", "data"], "holds checkpoints already"),
        (["train", "missing.toml", "--data", "data"], "cannot be read"),
        (["train", "shapes.toml", "--data", "data", "--device", "tpu"], "not a device"),
        (["train", "shapes.toml", "--data", "data", "--resume"], "nothing to do until 12"),
        (["sample", "nowhere", "--out", "x.png"], "no checkpoint is there"),
        (["sample", "checkpoints/shapes", "--class", "dog", "--out", "x.png"], "known: Circle"),
        (["sample", "checkpoints/shapes", "--steps", "101", "--out", "x.png"], "takes 1 to 100"),
        (["publish", "shapes", "7"], "no step 7; it has: 4, 8, 12"),
        (["publish", "../shapes", "8"], "cannot be a model's name"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(
    trained: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trained)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "99"], "--images 99: too few for distances, which need 100"),
        (["--images", "121"], "--images 121: there are only 120 unseen real pictures and 600"),
        (["--images", "0"], "--images 0 is not at least 1"),
        (["--extractor", "inception=x"], "x does not exist; give a file of weights"),
        (["--extractor", "vgg"], "--extractor 'vgg' is not one of classifier, efficientnet, "),
    ],
)
def test_what_cannot_be_measured_is_one_line_before_anything_is_drawn(
    trained: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trained)
    assert main([*EVALUATE, *arguments]) == 2
    said = capsys.readouterr().err
    assert "drew" not in said
    assert said.splitlines()[-1].startswith(f"error: {message}")


def test_training_needs_no_service_package(trained: Path) -> None:
    listing = (
        "import sys, training.__main__; "
        "print([m for m in ('fastapi', 'redis', 'rq', 'pydantic', 'diffusers', 'rich', "
        "'torchmetrics') "
        "if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
