"""Configurations: the presets load, and what does not belong is refused by name."""

from pathlib import Path

import pytest

from models.unet import UNet
from tests.training.data import CONFIG
from training.config import Config, load_config
from training.errors import TrainingError

# tests/training/encoding builds those that need an autoencoder or a text encoder.
ENCODED = ("cars-64-latent", "cars-64-vae", "emoji-64", "emoji-64-vae")
PRESETS = sorted(
    path
    for path in (Path(__file__).parents[2] / "configs").glob("*.toml")
    if path.stem not in ENCODED
)


# Classes of the data, and millions of parameters: design.md's table, and what is small.
NETWORKS = {
    "cars-64": (196, 63.20),
    "cars-64-small": (196, 6.17),
    "cifar10-32": (10, 35.75),
    "cifar10-32-small": (10, 4.33),
    "fashion-mnist": (10, 2.74),
    "mnist": (10, 1.54),
}


def network(config: Config, classes: int) -> UNet:
    return UNet(config.network.build(config.data, classes, null_class=classes > 0))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_builds_its_network(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    classes, millions = NETWORKS[path.stem]
    parameters = sum(p.numel() for p in network(config, classes).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.005)


def test_cifar10_without_classes_is_the_published_network() -> None:
    config = load_config(PRESETS[0].with_name("cifar10-32.toml"))
    parameters = sum(p.numel() for p in network(config, 0).parameters())
    assert parameters == 35_746_307  # google/ddpm-cifar10-32, which is Ho et al.'s 35.7 M


def test_the_cars_preset_is_300_epochs_of_which_10_warm_up() -> None:
    train = load_config(PRESETS[0].with_name("cars-64.toml")).train
    epoch = 8144 / train.batch_size
    assert train.steps == pytest.approx(300 * epoch, abs=1)
    assert train.warmup_steps == pytest.approx(10 * epoch, abs=1)
    assert (train.learning_rate, train.final_learning_rate, train.weight_decay) == (1e-4, 1e-5, 0)


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
        ("data.size=28.5", "[data].size = 28.5 is not a list of int"),
        ("data.size=[28]", "[data].size has 1 entries, not 2"),
        ("data.class_names=3", "[data].class_names = 3 is not a list of str"),
        ("network.multipliers=2", "[network].multipliers = 2 is not a list of int"),
        ("train.beta2=5", "train.beta2 = 5 is not in 0"),
        ("train.accumulate=0", "train.accumulate = 0 is not in 1"),
        ("train.min_snr_gamma=-5", "train.min_snr_gamma = -5 is not in 0"),
        ("train.compile='yes'", "[train].compile = 'yes' is not bool"),
        ("data.channels=2", "data.channels = 2 is not 1 (grey), 3 (RGB) or 4 (RGBA)"),
        ("data.size=[0, 8]", "data.size = [0, 8] is not within 1 ... 4096 pixels"),
        ("data.resize=stretch", "[data].resize = 'stretch' is not one of crop, squash"),
        ('data.class_names=["a", "b", "a"]', "data.class_names has 'a' twice"),
        ("network.base=9", "network.base = 9 is not an even number >= 2"),
        ("network.base=0", "network.base = 0 is not an even number >= 2"),
        ("network.blocks_per_level=0", "network.blocks_per_level = 0 is not >= 1"),
        ("network.dropout=1.0", "network.dropout = 1.0 is not in 0 ... below 1"),
        ("network.dropout=-0.1", "network.dropout = -0.1 is not in 0 ... below 1"),
        ("diffusion.timesteps=1", "diffusion: a schedule has 2 to 10000 timesteps, not 1"),
        ("publish.gate_images=0", "publish.gate_images = 0 is not in 1"),
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


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.size=[9, 8]", "size 9x8 is not divisible by 2"),
        ("network.norm_groups=3", "8 channels are not divisible by 3 norm groups"),
        ("network.head_dim=3", "16 channels are not divisible by head_dim 3"),
        ("network.multipliers=[]", "give one number >= 1 per level"),
        ("network.multipliers=[1, 0]", "give one number >= 1 per level"),
    ],
)
def test_an_impossible_network_is_refused_with_what_would_be_right(
    tmp_path: Path, override: str, message: str
) -> None:
    config = load_config(write(tmp_path), overrides=["network.attention=[]", override])
    with pytest.raises(TrainingError, match=message):
        config.network.build(config.data, 3, null_class=True)
