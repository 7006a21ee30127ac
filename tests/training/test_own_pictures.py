"""docs/training.md, "Your own pictures": each command is run as it stands, on little data."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import publish, read_manifest, resolve, save_checkpoint
from models.manifest import Diffusion, Manifest
from models.unet import UNet, UNetConfig
from training.__main__ import main

DOCS = Path(__file__).parents[2] / "docs/training.md"
SMALL = ["network.base=4", "network.norm_groups=4", "train.batch_size=4", "train.report_every=1"]


def commands() -> list[list[str]]:
    """The section's commands, without `python -m training`."""
    section = DOCS.read_text().split("## Your own pictures")[1].split("\n## ")[0]
    lines = re.findall(r"^    python -m training (.+)$", section, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


def photos(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for index in range(count):
        pixels = random.integers(0, 255, (20, 17, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")


def known_model(out: Path) -> None:
    """A tiny model in the place of one that is shipped."""
    network = UNetConfig(
        channels=3,
        size=(16, 16),
        block_channels=(4, 8),
        blocks_per_level=1,
        attention_levels=(False, False),
        norm_groups=4,
        num_class_embeds=3,
        null_class=2,
    )
    diffusion = Diffusion(schedule="cosine", timesteps=50, prediction="v")
    manifest = Manifest(
        name="cifar10-32-small",
        step=1,
        network=network,
        diffusion=diffusion,
        classes=("cat", "dog"),
    )
    manifest = replace(manifest, defaults=replace(manifest.defaults, steps=4))
    torch.manual_seed(0)
    save_checkpoint(out, manifest, weights=UNet(network).state_dict())
    publish(out, manifest.name, 1)


def test_the_walk_through_the_docs_works_command_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "my-photos/cat", 8, 0)
    photos(tmp_path / "my-photos/dog", 8, 1)
    photos(tmp_path / "pandas/panda", 8, 2)
    known_model(Path("checkpoints"))
    until = 1
    for command in commands():
        if command[0] == "train":
            small = [] if {"--init-from", "--resume"} & set(command) else SMALL
            until += "--resume" in command
            command += ["--device", "cpu", "--until", str(until)]
            command += [word for option in small for word in ("--set", option)]
        assert main(command) == 0, (command, capsys.readouterr().err)
        if command[0] == "train":
            photos(tmp_path / "my-photos/bear", 4, 3)  # for the next one to find
    assert Path("data-check/index.html").is_file()
    assert read_manifest(resolve(Path("checkpoints/my-photos"))).classes == ("cat", "dog", "bear")
    assert read_manifest(resolve(Path("checkpoints/pandas"))).classes == ("cat", "dog", "panda")
    more = read_manifest(resolve(Path("checkpoints/more-photos")))
    assert more.classes == ("cat", "dog", "bear", "panda")
    assert [one["model"] for one in more.training["lineage"]] == ["my-photos@0000002"]
    assert Path("for-the-hub/README.md").is_file()
    assert Path("compare.html").is_file()


def test_the_walk_has_the_commands_that_it_is_about() -> None:
    kinds = [command[0] for command in commands()]
    assert kinds == ["data", "train", "train", "train", "train", "compare", "convert"]
