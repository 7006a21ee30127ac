"""Quality at equal budget: our training against two that people use, each at its own defaults.

    python -m benchmarks.quality_peers --data PATH --work FOLDER [--pictures 640000] [--images 3000]

1. `python -m training` with a preset: classes, its guidance, dpmpp_2m.
2. The same without classes, which is all that the peers' defaults do.
3. denoising-diffusion-pytorch's Trainer, its Unet widened to the same number of parameters; DDIM.
4. diffusers' UNet2DModel, our network layer by layer, in the loop of its example; DDIM.

All see the same data, as many pictures, on the same device; batch, rates, EMA and objective are
each one's own. Then each draws as many pictures at 10, 20 and 250 steps, and one judge measures
them all. FOLDER keeps what was trained and drawn, so a run that was cut off goes on with what is
missing; the peers live in an environment of their own (`benchmarks.peers`).
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe, pick_device
from benchmarks.peers import peers_python
from models import load_model
from models.manifest import Defaults
from training.config import Config, load_config
from training.judging.drawing import Drawn, chosen_settings, draw_pictures
from training.judging.judge import Judge, appoint_judge
from training.pictures.data import Pictures, load_pictures
from training.pictures.source import SPLITS

PEERS = {"denoising-diffusion-pytorch": "lucidrains", "diffusers": "diffusers"}
OURS = {
    "Emaki": [],
    "Emaki, without classes": ["train.label_dropout=1", "publish.guidance_scale=0"],
}


def train_ours(name: str, arguments: argparse.Namespace, config: Config) -> None:
    """Train with the preset's batch, for as many pictures; draw at each number of steps."""
    folder = arguments.work / name.replace(", ", "-").replace(" ", "-").lower()
    steps = str(arguments.pictures // config.train.batch_size)
    if not (folder / "seconds").exists():
        command = [sys.executable, "-m", "training", "train", arguments.config]
        command += ["--data", arguments.data, "--out", folder, "--name", "ours", "--steps", steps]
        command += [f"--set={change}" for change in OURS[name]]
        command += ["--resume"] if (folder / "ours").is_dir() else []
        began = time.monotonic()
        subprocess.run([str(part) for part in command], check=True, env=_environment())
        (folder / "seconds").write_text(f"{time.monotonic() - began:.0f}")
    model = load_model(folder / "ours", device=pick_device())
    labels = np.arange(len(model.manifest.classes))
    for count in arguments.steps:
        if not (folder / f"{count}.npy").exists():
            settings = chosen_settings(model.manifest, steps=count)
            drawn = draw_pictures(
                model, settings, images=arguments.images, real_labels=labels, say=_silence
            )
            np.save(folder / f"{count}.npy", drawn.images.numpy())


def train_peer(name: str, arguments: argparse.Namespace, config: Config, data: Pictures) -> None:
    """The same of a peer, in a process of its environment."""
    folder = arguments.work / name
    if all((folder / f"{count}.npy").exists() for count in arguments.steps):
        return
    pictures = arguments.work / "data" / "pictures"  # ImageFolder wants a class
    if not pictures.exists():
        write_pictures(pictures, data)
    folder.mkdir(parents=True, exist_ok=True)
    network = config.network.build(config.data, 0, null_class=False)
    python = peers_python("torchvision", "denoising-diffusion-pytorch")
    job = {
        "folder": str(pictures),
        "out": str(folder),
        "pictures": arguments.pictures,
        "images": arguments.images,
        "steps": arguments.steps,
        "threads": torch.get_num_threads(),
        "network": dataclasses.asdict(network),
    }
    command = [str(python), "-m", "benchmarks.quality_peers_loops", PEERS[name], json.dumps(job)]
    subprocess.run(command, check=True, env=_environment())


def write_pictures(folder: Path, data: Pictures) -> None:
    """The training pictures as files, whole or not at all."""
    fresh = folder.with_name(".fresh")
    fresh.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(data.images):
        pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
        Image.fromarray(pixels).save(fresh / f"{index:06d}.png")
    fresh.rename(folder)


def judged(judge: Judge, folder: Path, steps: list[int]) -> list[str]:
    """Each number of steps: Fréchet in units of its floor, and recall."""
    cells = []
    for count in steps:
        images = torch.from_numpy(np.load(folder / f"{count}.npy"))
        drawn = Drawn(
            images=images, labels=None, settings=Defaults(steps=count), seconds=1, evaluations=count
        )
        one = next(iter(judge.judge(drawn, dtype="float32").features.values()))
        cells.append(f"{one.frechet_ratio:.2f} (recall {one.drawn[1].recall:.2f})")
    return cells


def main() -> None:
    """Train what is not trained, draw what is not drawn, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/fashion-mnist.toml"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=640_000, help="seen in training")
    parser.add_argument("--images", type=int, default=3000, help="drawn at each number of steps")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 250])
    parser.add_argument("--contenders", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    train, test = (
        load_pictures(
            arguments.data,
            split=split,
            size=config.data.size,
            channels=config.data.channels,
            class_names=config.data.class_names,
            resize=config.data.resize,
        )
        for split in SPLITS
    )
    rows = []
    judge = appoint_judge(
        train,
        test,
        images=arguments.images,
        by_class=False,  # three of the four draw without
        metrics=["distances"],
        extractors=[],
        device=pick_device(),
        say=_silence,
    )
    for name in arguments.contenders:
        if name in OURS:
            train_ours(name, arguments, config)
        else:
            train_peer(name, arguments, config, train)
        folder = arguments.work / name.replace(", ", "-").replace(" ", "-").lower()
        seconds = float((folder / "seconds").read_text())
        rows.append([name, f"{seconds / 60:.1f}", *judged(judge, folder, arguments.steps)])
    print(
        f"{describe()}\n{arguments.config.stem}, {arguments.pictures} pictures seen, "
        f"{arguments.images} drawn; Fréchet distance in units of its floor\n"
    )
    heads = ["", "minutes of training", *(f"{count} steps" for count in arguments.steps)]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TQDM_DISABLE": "1"}


def _silence(_text: str) -> None:
    """The table alone is told."""


if __name__ == "__main__":
    main()
