"""README's examples, taken from its text and run against the shipped model."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.service import Service, running

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
PYTHON = [text for language, text in BLOCKS if language == "python"]
CURL = [text for language, text in BLOCKS if language == "sh" and "curl " in text]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "checkpoints" / "fashion-mnist", folder / "checkpoints/fashion-mnist")
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


def test_there_are_examples() -> None:
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
    pictures = list(tmp_path.glob("*.png"))
    assert pictures
    for path in pictures:
        assert is_picture(path)
