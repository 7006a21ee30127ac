"""The wheel, outside of the repository: all that serving and drawing need is in it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support import eventually, free_port

ROOT = Path(__file__).parents[2]
PARTS = ("app", "checkpoints", "configs", "emaki", "models", "serve", "training", "wire", "worker")
FILES = ("LICENSE", "README.md", "pyproject.toml")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's programs. It has our wheel; what that needs, it sees beside us."""
    folder = tmp_path_factory.mktemp("wheel")
    source, environment = folder / "source", folder / "environment"
    source.mkdir()
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    pip(*build)
    (wheel,) = folder.glob("emaki-*.whl")
    assert wheel.stat().st_size < 20_000_000
    venv.create(environment)
    libraries = sysconfig.get_path("purelib", vars={"base": str(environment)})
    # A path alone: the links to the repository that stand there are not followed from here.
    (Path(libraries) / "beside.pth").write_text(sysconfig.get_path("purelib"))
    programs = environment / "bin"
    pip("--python", programs / "python", "install", "--no-deps", "--ignore-installed", wheel)
    return programs


def pip(*words: object) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def clean() -> dict[str, str]:
    """This environment without our settings and without the repository."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("EMAKI_", "PYTHON"))}


@pytest.fixture(scope="module")
def served(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`emaki serve` in a folder of somebody's, who has an `app` of their own."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "app.py").write_text("raise SystemExit('this is not Emaki')")
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(installed / "emaki"), "serve", "--port", str(port)],
            cwd=folder,
            env={**clean(), "EMAKI_THREADS": "1"},
            stdout=log,
            stderr=log,
        )

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return "ready at" in (folder / "log").read_text()

    try:
        eventually(ready, seconds=60, what="ready")
        said = (folder / "log").read_text()
        assert "checkpoints/ was not there; it holds fashion-mnist now" in said
        assert (folder / "checkpoints/fashion-mnist/LATEST").is_file()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_what_is_installed_is_the_wheel_and_nothing_of_the_repository(installed: Path) -> None:
    names = "app, emaki, models, serve, training, wire, worker"
    code = f"import {names}; print(*[m.__file__ for m in ({names})], sep='\\n')"
    answer = subprocess.run(
        [installed / "python", "-P", "-c", code],
        env=clean(),
        capture_output=True,
        text=True,
        check=True,
    )
    files = answer.stdout.split()
    assert len(files) == 7
    assert all(Path(file).is_relative_to(installed.parent) for file in files)
    package = Path(files[1]).parent
    assert (package / "py.typed").is_file()
    assert sorted(path.name for path in (package / "configs").glob("*.toml")) == sorted(
        path.name for path in (ROOT / "configs").glob("*.toml")
    )
    assert not list(package.rglob("resume.safetensors"))


def test_it_serves_and_draws_in_an_empty_folder(
    installed: Path, served: str, tmp_path: Path
) -> None:
    answer = subprocess.run(
        [installed / "emaki", "draw", "sneakers", "--steps", "3", "--seed", "1"],
        cwd=tmp_path,
        env={**clean(), "EMAKI_URL": served},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    with Image.open(tmp_path / "sneakers-1.png") as image:
        assert (image.size, image.text["class"]) == ((28, 28), "Sneaker")  # type: ignore[attr-defined]


def test_training_begins_from_the_model_that_came_along(installed: Path, tmp_path: Path) -> None:
    for level in range(4):
        (tmp_path / "photos/grey").mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), level).save(tmp_path / f"photos/grey/{level}.png")
    command = ["train", "photos", "--init-from", "fashion-mnist", "--device", "cpu"]
    small = ["--until", "1", "--set", "train.batch_size=2", "--set", "publish.steps=1"]
    answer = subprocess.run(
        [installed / "emaki", *command, *small],
        cwd=tmp_path,
        env={**clean(), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "begins from fashion-mnist@" in answer.stderr
    assert "new: the class 'grey'" in answer.stderr


def test_the_page_and_the_description_come_along(served: str) -> None:
    import httpx

    page = httpx.get(served).text
    parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert parts
    for path in (*parts, "/docs", "/redoc", "/openapi.json"):
        assert httpx.get(served + path).status_code == 200, path
