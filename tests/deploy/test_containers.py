"""What the images are made of, without an engine: requirements, and the shipped models' seeding."""

from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings

from app.settings import AppSettings
from deploy.requirements import requirements
from deploy.seed import main, seed
from models.checkpoint import latest_step, load_model, publish, steps_of
from tests.support import write_checkpoint
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]


def test_the_api_needs_no_torch_and_the_worker_does() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert not any(line.startswith("torch") for line in requirements(text, ["app", "s3"]))
    assert any(line.startswith("torch") for line in requirements(text, ["draw"]))
    for extras in (["app"], ["worker"], ["train"], ["s3"]):
        assert not any("emaki" in line for line in requirements(text, extras))


@pytest.mark.parametrize(
    ("service", "settings", "fixed"),
    [("api", AppSettings, {"port"}), ("worker", WorkerSettings, {"checkpoints"})],
)
def test_compose_passes_every_setting_on(
    service: str, settings: type[BaseSettings], fixed: set[str]
) -> None:
    """But what the containers fix, the embedded Redis's folder, and what an override file sets."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    fields = settings.model_fields.keys() - fixed - {"data", "images"}
    wanted = {f"EMAKI_{name.upper()}" for name in fields}
    assert wanted <= compose["services"][service]["environment"].keys()


def test_an_empty_volume_gets_the_shipped_models(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "shipped", step=1)
    (tmp_path / "volume").mkdir()
    assert seed(tmp_path / "shipped", tmp_path / "volume") == ["tiny/0000001"]
    load_model(tmp_path / "volume" / "tiny")
    assert seed(tmp_path / "shipped", tmp_path / "volume") == []


def test_what_was_trained_or_rolled_back_stays(tmp_path: Path) -> None:
    shipped, volume = tmp_path / "shipped", tmp_path / "volume"
    write_checkpoint(volume, step=1)
    write_checkpoint(volume, "mine")
    write_checkpoint(shipped, step=1)
    write_checkpoint(shipped, step=2)
    (volume / "tiny" / "0000001" / "note").touch()
    assert seed(shipped, volume) == ["tiny/0000002"]
    assert (volume / "tiny" / "0000001" / "note").exists()
    assert (steps_of(volume / "tiny"), latest_step(volume / "tiny")) == ([1, 2], 1)
    publish(volume, "tiny", 2)
    assert latest_step(volume / "mine") == 1


def test_a_volume_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "shipped")
    assert main([str(tmp_path / "shipped"), str(tmp_path / "missing")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/missing/tiny: No such file")


def test_the_build_context_holds_what_the_images_copy() -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = [
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert {"serve", "constraints.txt", "checkpoints"} <= set(copied)
    assert set(copied) == let_in
