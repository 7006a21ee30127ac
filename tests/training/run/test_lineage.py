"""A run that begins from another model, or goes on with more pictures; new classes extend it."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import load_model, read_manifest, resolve, save_checkpoint
from models.manifest import Manifest
from models.unet import UNet
from training.__main__ import main
from training.config import load_config
from training.metrics import append, curve, read_metrics
from training.pictures.data import load_alike
from training.pictures.mixture import Asked
from training.run.growth import CLASS_TABLE
from training.run.material import load_split, unseen

CONFIG = """
[data]
size = 8
channels = 1
hold_out = 0

[network]
base = 8
multipliers = [1, 2]
blocks_per_level = 1
norm_groups = 4
attention = [4]

[diffusion]
schedule = "cosine"
timesteps = 50
prediction = "v"

[train]
steps = 6
batch_size = 8
report_every = 100
save_every = 100
bf16 = false

[publish]
steps = 4
keep_minutes = 0
license = "cc-by-4.0"
"""


def draw(folder: Path, name: str, count: int, seed: int) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for index in range(count):
        pixels = random.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{seed}-{index}.png")


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of cats and dogs, half done."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "data", "cat", 10, 0)
    draw(tmp_path / "data", "dog", 10, 1)
    Path("pets.toml").write_text(CONFIG)
    assert main(["train", "pets.toml", "--data", "data", "--until", "3"]) == 0
    return tmp_path / "data"


def table(folder: Path) -> torch.Tensor:
    found: torch.Tensor = load_model(folder).network.state_dict()[CLASS_TABLE]
    return found


def test_added_pictures_continue_the_run_and_a_new_class_extends_the_table(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table(Path("checkpoints/pets"))
    draw(pets, "bear", 5, 2)  # sorts before the others
    draw(pets, "cat", 2, 3)
    (pets / "dog/1-0.png").unlink()
    again = ["train", "pets.toml", "--data", "data", "--resume", "--set", "train.learning_rate=0"]
    assert main(again) == 0
    said = capsys.readouterr().err
    assert "the pictures have changed: 7 added, 1 removed, new classes: bear; 26 instead of 20" in (
        said
    )
    manifest = read_manifest(resolve(Path("checkpoints/pets")))
    assert manifest.classes == ("cat", "dog", "bear")
    assert manifest.training["data"]["changes"] == [
        {"step": 3, "added": 7, "removed": 1, "classes": ["bear"]}
    ]
    after = table(Path("checkpoints/pets"))
    cat, dog, null = before
    # The average still moves towards the network's weights a little.
    for row, expected in zip(after, (cat, dog, null, null), strict=True):
        assert torch.allclose(row, expected, atol=1e-2)
    # A class may go again: its pictures are judged by what is left, in the model's order.
    shutil.rmtree(pets / "cat")
    assert load_alike(pets, manifest, split="train").classes == manifest.classes


def test_the_same_pictures_are_no_change(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "pets.toml", "--data", "data=2", "--resume"]) == 0
    assert "have changed" not in capsys.readouterr().err
    assert "changes" not in read_manifest(resolve(Path("checkpoints/pets"))).training["data"]


def test_a_run_with_a_configuration_notes_its_sources_and_goes_on_without_being_told(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(pets.parent / "more", "cat", 4, 4)
    two = ["train", "pets.toml", "--name", "both", "--set", "data.path=data"]
    assert main([*two, "--data", str(pets), "--data", "more=3", "--until", "2"]) == 0
    folder = Path("checkpoints/both")
    noted = load_config(folder / "both.toml").data
    assert (noted.path, noted.paths) == (None, (f"{pets}=1", "more=3"))
    before = [{"name": "data", "weight": 1.0}, {"name": "more", "weight": 3.0}]
    assert read_manifest(resolve(folder)).training["data"]["sources"] == before
    capsys.readouterr()

    # By the file beside the run, whether it is named, or found by the run's name.
    for given in (["pets.toml", "--name", "both"], ["--name", "both"], [str(folder / "both.toml")]):
        assert main(["train", *given, "--resume", "--until", f"{_step(folder) + 1}"]) == 0
        assert "changed" not in capsys.readouterr().err
    manifest = read_manifest(resolve(folder))
    assert (manifest.step, manifest.training["data"]["sources"]) == (5, before)

    other = ["--data", str(pets), "--data", "more=5"]
    assert main(["train", "pets.toml", "--name", "both", "--resume", *other]) == 0
    said = capsys.readouterr().err
    now, then = "data, more (weight 5)", "data, more (weight 3)"
    assert f"the sources have changed: {now} instead of {then}\n" in said
    assert "the pictures have changed" not in said
    manifest = read_manifest(resolve(folder))
    assert manifest.training["data"]["changes"] == [
        {"step": 5, "added": 0, "removed": 0, "classes": [], "sources_before": before}
    ]
    assert load_config(folder / "both.toml").data.paths[1] == "more=5"
    card, page = ((folder / name).read_text() for name in ("README.md", "report.html"))
    assert f"From {now}." in card
    assert f"After step 5: 0 pictures added, 0 removed; they were from {then} before." in card
    assert f"<td>from<td>{now}<" in page
    assert f"they were from {then} before" in page


def _step(folder: Path) -> int:
    return read_manifest(resolve(folder)).step


def test_a_source_that_is_another_is_said_beside_its_pictures(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = pets.rename(pets.parent / "pets-2")
    draw(moved, "cat", 1, 6)
    again = ["train", "pets.toml", "--data", "pets-2", "--resume"]
    assert main(again) == 0
    assert (
        "the pictures have changed: 1 added; 21 instead of 20; the sources have changed: pets-2 "
        "instead of data\n"
    ) in capsys.readouterr().err


def test_a_manifest_holds_no_folder_of_the_machine(pets: Path) -> None:
    again = ["train", "pets.toml", "--data", f"{pets}/../data", "--resume"]
    assert main([*again, "--set", f"data.path={pets}"]) == 0
    folder = resolve(Path("checkpoints/pets"))
    text = (folder / "manifest.json").read_text()
    assert str(pets.parent) not in text
    assert {"path", "paths"}.isdisjoint(read_manifest(folder).training["config"]["data"])
    assert str(pets.parent) not in Path("checkpoints/pets/README.md").read_text()


def test_data_that_no_configuration_can_name_is_refused_before_it_is_read(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = str(pets.rename(pets.parent / os.fsdecode(b"b\xe4ren")))
    assert main(["train", "pets.toml", "--data", odd, "--name", "odd"]) == 2
    said = capsys.readouterr().err
    assert r"b\udce4ren=1' is no name in UTF-8" in said
    assert "rename it" in said


def test_other_pictures_are_another_run(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(pets.parent / "other", "cat", 9, 8)
    draw(pets.parent / "other", "dog", 9, 9)
    assert main(["train", "pets.toml", "--data", "other", "--resume"]) == 2
    said = capsys.readouterr().err
    assert "only 0 of the 20 pictures that it was trained on are still there" in said
    assert "--init-from" in said


def test_fine_tuning_keeps_what_fits_and_names_the_rest(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(pets.parent / "new", "panda", 6, 5)
    base = ["train", "pets.toml", "--init-from", "checkpoints/pets", "--data", "new"]
    still = ["--set", "train.learning_rate=0", "--set", "network.blocks_per_level=2"]
    assert main([*base, "--name", "pandas", "--until", "2", *still]) == 0
    said = capsys.readouterr().err
    assert "begins from pets@0000003: " in said
    assert "new: the class 'panda', " in said
    model, parent = load_model(Path("checkpoints/pandas")), load_model(Path("checkpoints/pets"))
    assert model.manifest.classes == ("cat", "dog", "panda")
    weights, before = model.network.state_dict(), parent.network.state_dict()
    assert torch.equal(weights["conv_in.weight"], before["conv_in.weight"])
    cat, dog, null = before[CLASS_TABLE]
    assert torch.equal(weights[CLASS_TABLE], torch.stack([cat, dog, null, null]))
    (lineage,) = model.manifest.training["lineage"]
    assert (lineage["model"], lineage["pictures"], lineage["classes"]) == ("pets@0000003", 20, 2)

    # It goes on, and so does its lineage; the panda alone may be judged.
    assert main([*base[:2], *base[4:], "--name", "pandas", "--resume", *still]) == 0
    assert read_manifest(resolve(Path("checkpoints/pandas"))).training["lineage"] == [lineage]


def test_fine_tuning_without_a_configuration_keeps_the_model_s_own(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(pets.parent / "new", "panda", 6, 5)
    arguments = ["train", "--init-from", "checkpoints/pets", "--data", "new", "--until", "1"]
    assert main([*arguments, "--set", "data.hold_out=0"]) == 0
    model = load_model(Path("checkpoints/new"))
    parent = read_manifest(resolve(Path("checkpoints/pets")))
    assert model.manifest.diffusion == parent.diffusion
    assert model.manifest.network.block_channels == parent.network.block_channels
    config = load_config(Path("checkpoints/new/new.toml"))
    assert (config.data.size, config.publish.license) == ((8, 8), "cc-by-4.0")
    # Attention stays on its level, at another size too, and all weights fit.
    capsys.readouterr()
    larger = ["--name", "larger", "--set", "data.size=12", "--set", "train.batch_size=5"]
    assert main([*arguments, *larger, "--set", "data.hold_out=0"]) == 0
    said = capsys.readouterr().err
    kept, of = re.findall(r"begins from pets@0000003: (\d+) of (\d+) tensors", said)[0]
    assert (kept, "new: the class 'panda'\n" in said) == (of, True)
    config = load_config(Path("checkpoints/larger/larger.toml"))
    assert (config.data.size, config.network.attention) == ((12, 12), (6,))
    assert config.train.batch_size == 5
    assert main([*arguments, "--name", "odd", "--set", "data.size=13"]) == 2
    assert "data.size for pets@0000003: size 13x13 is not divisible by 2" in (
        capsys.readouterr().err
    )


def test_weights_of_other_conventions_are_fine_tuned_as_they_are(pets: Path) -> None:
    parent = load_model(Path("checkpoints/pets"))
    shape = replace(
        parent.manifest.network,
        downsample_padding=0,
        freq_shift=1.0,
        flip_sin_to_cos=False,
        norm_eps=1e-6,
        num_class_embeds=None,
        null_class=None,
    )
    manifest = Manifest(
        name="ddpm", step=0, network=shape, diffusion=parent.manifest.diffusion, classes=()
    )
    save_checkpoint(Path("checkpoints"), manifest, weights=UNet(shape).state_dict())
    arguments = ["train", "--init-from", "checkpoints/ddpm/0000000", "--data", "data", "--name"]
    assert main([*arguments, "both", "--until", "1", "--set", "data.hold_out=0"]) == 0
    network = load_model(Path("checkpoints/both")).manifest.network
    assert (network.downsample_padding, network.freq_shift, network.norm_eps) == (0, 1.0, 1e-6)
    assert network.num_class_embeds == 3


def test_pictures_are_held_out_by_the_classes_that_are_trained_on(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = pets.parent / "own"
    for seed, name in enumerate(["train/ant", "train/cat", "test/ant", "test/bee", "test/cow"]):
        draw(own, name, 3, seed)
    config, asked = load_config(Path("pets.toml")), [Asked(own)]
    data = load_split(asked, config, "train", known=("dog", "cat"), quiet=True)
    test = unseen(asked, config, data, quiet=False)
    assert data.classes == test.classes == ("dog", "cat", "ant")
    assert test.labels.tolist() == [2, 2, 2]
    said = capsys.readouterr().err
    assert "6 test pictures in" in said
    assert "nothing is trained on that has their class, bee, cow" in said
    arguments = ["train", "pets.toml", "--data", "own", "--name", "own", "--until", "1"]
    often = ["--set", "train.report_every=1"]
    assert main([*arguments, *often]) == 0
    assert "their class, bee, cow" in capsys.readouterr().err
    folder = Path("checkpoints/own")
    assert "<td>held out<td>the data&#x27;s own split" in (folder / "report.html").read_text()
    # With other pictures, what was measured before is no measure; with the same it is.
    low = {"seen": 99.0, "unseen": 1e-9, "seen_levels": [99.0], "unseen_levels": [1e-9]}
    append(folder, {"step": 1, "held_out": low})
    draw(own, "train/cat", 1, 9)
    arguments[-1] = "2"
    assert main([*arguments, *often, "--resume"]) == 0
    said = capsys.readouterr().err
    assert "the pictures have changed: 1 added" in said
    assert "held-out loss rises" not in said
    append(folder, {"step": 2, "held_out": low})
    arguments[-1] = "3"
    assert main([*arguments, *often, "--resume"]) == 0
    assert "held-out loss rises (0.0000 at step 2, " in capsys.readouterr().err
    assert "held-out loss rises" in (folder / "report.html").read_text()


def test_loss_by_noise_level_is_there_where_nothing_is_held_out(pets: Path) -> None:
    arguments = ["train", "pets.toml", "--data", str(pets), "--name", "whole", "--until", "2"]
    assert main([*arguments, "--set", "train.report_every=1"]) == 0
    page = Path("checkpoints/whole/report.html").read_text()
    assert "loss by noise level" in page
    assert "<td>held out<td>none" in page
    lines = read_metrics(Path("checkpoints/whole"))
    assert [step for step, _ in curve(lines, "held_out", "seen")] == [1, 2]
    assert not curve(lines, "held_out", "unseen")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "diffusion.prediction=eps"], "has diffusion.prediction = 'v', the config"),
        (["--set", "diffusion.timesteps=40"], "weights would mean something else"),
        (["--resume"], "--init-from begins a run and --resume goes on"),
        (["--data", "plain"], "has none: put its pictures into a folder"),
    ],
)
def test_a_parent_that_does_not_fit_is_refused(
    pets: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(pets.parent, "plain", 3, 1)
    arguments = ["train", "pets.toml", "--init-from", "checkpoints/pets", "--data", "data"]
    assert main([*arguments, "--name", "x", *more]) == 2
    assert message in capsys.readouterr().err


def test_pictures_without_a_class_cannot_go_on_from_a_model_with_classes(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(pets.parent, "plain", 3, 1)
    arguments = ["train", "pets.toml", "--init-from", "checkpoints/pets", "--data", "plain"]
    assert main([*arguments, "--name", "x"]) == 2
    assert "has classes, and the pictures have none" in capsys.readouterr().err
