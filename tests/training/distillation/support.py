"""A teacher of 8x8 shapes that knows a little, and runs of its students."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from models import Model, load_model
from models.checkpoint import read_manifest, resolve
from tests.companions import write_autoencoder
from tests.training.data import CONFIG, NAMES, write_idx
from training.__main__ import main
from training.config import load_config
from training.distillation.command import student
from training.distillation.options import Distillation, Method, load_distillation
from training.pictures.data import Pictures, load_pictures
from training.run.lesson import denoising
from training.run.loop import Trainer

CPU = torch.device("cpu")


def pictures(tmp_path: Path) -> Pictures:
    folder = tmp_path / "data"
    if not folder.exists():
        write_idx(folder)
    return load_pictures(folder, size=(8, 8), channels=1, class_names=NAMES)


def teacher(tmp_path: Path, *overrides: str, steps: int = 60) -> Path:
    """The folder of a model that was trained for a second, once for all tests that ask for it."""
    folder = tmp_path / "models" / "teacher"
    if not folder.exists():
        shutil.copytree(Path(_taught(overrides, steps).name) / "models" / "teacher", folder)
    return folder


@cache
def _taught(overrides: tuple[str, ...], steps: int) -> TemporaryDirectory[str]:
    """Deleted with the process."""
    kept = TemporaryDirectory()
    folder = Path(kept.name)
    (folder / "teacher.toml").write_text(CONFIG)
    size = [f"train.steps={steps}", f"train.save_every={steps}", f"train.report_every={steps}"]
    config = load_config(folder / "teacher.toml", overrides=[*size, *overrides])
    data = pictures(folder)
    lesson = denoising(config, data, CPU)
    run = Trainer(config, data, lesson, out=folder / "models", device=CPU, commit="unknown")
    run.run(until=steps)
    run.close()
    return kept


def distillation(folder: Path, method: Method, *overrides: str, name: str) -> Distillation:
    small = ["train.steps=12", "train.batch_size=16", "train.warmup_steps=3"]
    small += ["train.save_every=4", "train.report_every=6", "train.bf16=false"]
    manifest = read_manifest(resolve(folder))
    return load_distillation(method, manifest, name=name, overrides=[*small, *overrides])


def student_run(tmp_path: Path, method: Method, *overrides: str, name: str = "student") -> Trainer:
    folder = resolve(teacher(tmp_path))
    run = distillation(folder, method, *overrides, name=name)
    data = pictures(tmp_path)
    lesson = student(method, folder, read_manifest(folder), run, data, device=CPU)
    return Trainer(run, data, lesson, out=tmp_path / "models", device=CPU, commit="unknown")


def published(run: Trainer) -> Model:
    return load_model(run.folder)


def write_shapes(folder: Path) -> Path:
    """RGB pictures of 16x16 pixels, sixteen of each class, in folders that are named after it."""
    random = np.random.default_rng(0)
    for index, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for count in range(16):
            pixels = random.integers(0, 80, (16, 16, 3), dtype=np.uint8)
            pixels[4:12, 4:12, index] += 160
            Image.fromarray(pixels).save(folder / name / f"{count}.png")
    return folder


def latent_teacher(tmp_path: Path, data: Path, *, mirrored: bool) -> Path:
    """The folder of a model that has seen a step of the latents of these pictures."""
    vae = write_autoencoder(tmp_path / "vae")
    config = tmp_path / "latents.toml"
    config.write_text(CONFIG.replace("[8, 8]", "[16, 16]").replace("channels = 1", "channels = 3"))
    settings = [f"latent.autoencoder={vae}", "diffusion.clip=false", "train.steps=1"]
    settings += [f"data.flip={str(mirrored).lower()}", "network.attention=[4]"]
    settings += ["data.class_names=[]"]
    given = ["--data", str(data), "--out", str(tmp_path / "models")]
    sets = [part for one in settings for part in ("--set", one)]
    assert main(["train", str(config), *given, *sets]) == 0
    return tmp_path / "models" / "latents"
