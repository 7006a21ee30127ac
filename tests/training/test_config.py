"""Configurations: the presets load, and what does not belong is refused by name."""

from pathlib import Path

import pytest

from tests.training.data import CONFIG
from training.config import load_config
from training.errors import TrainingError

PRESETS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_builds_its_network(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    config.network.build(config.data, len(config.data.class_names), null_class=True)


def write(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "shapes.toml"
    path.write_text(text)
    return path


def test_overrides_are_toml_values_or_bare_words(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path),
        name="other",
        overrides=["train.learning_rate=1e-3", "data.path=/some/where", "train.bf16=true"],
    )
    assert config.name == "other"
    assert config.train.learning_rate == 1e-3
    assert config.data.path == "/some/where"
    assert config.train.bf16


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", "[train] has an unknown field 'stepz'; known: steps"),
        ("train.steps='x'", "[train].steps = 'x' is not int"),
        ("data.size=28", "[data].size = 28 is not a list of int"),
        ("data.size=[28]", "[data].size has 1 entries, not 2"),
        ("data.class_names=3", "[data].class_names = 3 is not a list of str"),
        ("network.multipliers=2", "[network].multipliers = 2 is not a list of int"),
        ("train.beta2=5", "train.beta2 = 5 is not in 0"),
        ("train.seed=-1", "train.seed = -1 is not in 0"),
        ("train.label_dropout=0", "needs a null class, which train.label_dropout = 0 does not"),
        ("publish.steps=0", "publish.steps = 0 is not in 1"),
        ("train.steps=0", "train.steps = 0 is not in 1"),
        ("train.steps=true", "[train].steps = True is not int"),
        ("nowhere.key=1", "unknown section [nowhere]"),
        ("train", "not of the form section.key=value"),
        ("diffusion.schedule=quadratic", "unknown schedule 'quadratic'"),
        ("diffusion.prediction=score", "'score' is not one of eps, v, x0"),
        ("publish.sampler=euler", "'euler' is not one of ddpm"),
        ("publish.steps=101", "publish.steps = 101 is not in 1 ... diffusion.timesteps = 100"),
        ("publish.dtype=fp8", "'fp8' is not bf16 or fp32"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        load_config(write(tmp_path), overrides=[override])
    assert message in str(caught.value)


def test_missing_and_broken_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(TrainingError, match="not valid TOML"):
        load_config(write(tmp_path, "[data"))
    with pytest.raises(TrainingError, match="choose one with --name"):
        load_config(write(tmp_path), name="Shapes!")


def test_attention_names_a_resolution_that_exists(tmp_path: Path) -> None:
    config = load_config(write(tmp_path), overrides=["network.attention=[7]"])
    with pytest.raises(TrainingError, match="resolution 7, but the levels are 8, 4 pixels high"):
        config.network.build(config.data, 3, null_class=True)
