"""README's examples, taken from its text, and `examples/`, run against the shipped model."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import emaki
from tests.e2e.service import Service, running

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ("diffusion.ipynb", "serving.ipynb")
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh" and "emaki " in text]
CURL = [text for language, text in BLOCKS if language == "sh" and "curl " in text]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("readme")
    for name in ("fashion-mnist", "emoji-64"):
        shutil.copytree(ROOT / "checkpoints" / name, folder / "checkpoints" / name)
    settings = {"EMAKI_DEFAULT_MODEL": "fashion-mnist"}
    with running(folder, "worker", "app", **settings) as service:
        yield service


def here(text: str, service: Service) -> str:
    assert "localhost:8000" in text
    return text.replace("localhost:8000", f"localhost:{service.port}")


def is_picture(path: Path) -> bool:
    with Image.open(path) as image:
        return min(image.size) >= 28


def test_readme_is_read_in_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 200
    assert max(map(len, lines)) <= 120


def test_it_begins_with_serving_and_drawing() -> None:
    text = (ROOT / "README.md").read_text()
    places = [text.index(word) for word in ("make serve", "emaki serve", "emaki draw")]
    assert max(places) < text.index("## ") < text.index("curl ")


def test_there_are_examples() -> None:
    assert len(SHELL) >= 1
    assert len(CURL) >= 2
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("example", CURL, ids=range(len(CURL)))
def test_curl_examples_work(shipped: Service, tmp_path: Path, example: str) -> None:
    script = f"set -euo pipefail\n{here(example, shipped)}".replace("curl ", "curl -sS --fail ")
    answer = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    for name in re.findall(r"-o (\S+\.png)", example):
        assert is_picture(tmp_path / name)
    if "/events" in example:
        assert "event: done" in answer.stdout


@pytest.mark.parametrize("example", PYTHON, ids=range(len(PYTHON)))
def test_python_examples_work(shipped: Service, tmp_path: Path, example: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", here(example, shipped)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    pictures = list(tmp_path.rglob("*.png"))
    assert pictures
    for path in pictures:
        assert is_picture(path)


@pytest.mark.parametrize("example", SHELL, ids=range(len(SHELL)))
def test_shell_examples_work(shipped: Service, tmp_path: Path, example: str) -> None:
    script = re.sub("^emaki ", f"{sys.executable} -m emaki ", example, flags=re.MULTILINE)
    answer = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EMAKI_URL": shipped.url},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    for name in re.findall(r"--out (\S+\.png)", example):
        assert is_picture(tmp_path / name)
    assert len(list((tmp_path / "bags").glob("*.png"))) == 12


def run(name: str, *arguments: str) -> None:
    """A program of `examples/`, here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


@pytest.fixture
def here_with_a_service(shipped: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMAKI_URL", shipped.url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_is_run_here() -> None:
    files = {path.name for path in (ROOT / "examples").iterdir()} - {"README.md"}
    assert {path for path in files if path.endswith(".ipynb")} == set(NOTEBOOKS)
    programs = {"draw.py", "edit.py", "stream.py", "thousand.py", "train.py"}
    assert files - set(NOTEBOOKS) - {"__pycache__"} == programs
    told = (ROOT / "examples/README.md").read_text()
    assert all(f"`{name}" in told for name in files - {"__pycache__"})


def test_drawing_and_editing(here_with_a_service: Path) -> None:
    run("draw.py")
    assert is_picture(here_with_a_service / "sneakers.png")
    emaki.load("fashion-mnist").draw("Sneaker", seed=1)[0].save_png("one.png")
    run("edit.py", "one.png", "Ankle boots")
    assert emaki.Picture.read("one-edited.png").class_name == "Ankle boot"


def test_streaming_and_a_thousand(here_with_a_service: Path) -> None:
    run("stream.py")
    for name in ("step-04.png", "step-12.png", "sneaker.png", "scroll.png"):
        assert is_picture(here_with_a_service / name)
    run("thousand.py", "3")
    assert len(list((here_with_a_service / "sneakers").glob("*.png"))) == 3


def test_training_on_a_folder_of_ones_own(here_with_a_service: Path) -> None:
    rows = np.random.default_rng(0)
    for name in ("light", "dark"):
        (here_with_a_service / "mine" / name).mkdir(parents=True)
        for i in range(8):
            level = rows.integers(0, 80, (28, 28)) + (170 if name == "light" else 0)
            picture = Image.fromarray(level.astype(np.uint8))
            picture.save(here_with_a_service / "mine" / name / f"{i}.png")
    quick = {
        "train.batch_size": "4",
        "train.warmup_steps": "1",
        "train.report_every": "2",
        "train.save_every": "2",
        "network.base": "8",
        "network.multipliers": "[1, 2]",
        "network.attention": "[]",
        "network.norm_groups": "4",
    }
    options = [word for key, value in quick.items() for word in ("--set", f"{key}={value}")]
    run("train.py", "mine", "--steps", "2", "--device", "cpu", *options)
    assert is_picture(here_with_a_service / "mine.png")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_pictures(here_with_a_service: Path, name: str) -> None:
    book = nbformat.read(ROOT / "examples" / name, as_version=4)
    nbformat.validate(book)
    kept = [kinds(cell) for cell in book.cells]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own
        NotebookClient(book, timeout=100, kernel_name="python3").execute(
            cwd=str(here_with_a_service)
        )
    assert [kinds(cell) for cell in book.cells] == kept, "its kept outputs are of another run"
    assert sum("image/png" in found for found in kept) >= 2
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    bars = any("drawing" in output.text for output in outputs if output.get("name") == "stderr")
    assert bars == (name == "serving.ipynb")


def kinds(cell: Any) -> set[str]:
    """What a cell shows: text, pictures."""
    shown = (kind for output in cell.get("outputs", ()) for kind in output.get("data", ()))
    return {kind for kind in shown if kind != "image/jpeg"}  # the PNG again
