"""A teacher of 8x8 shapes that knows a little, and runs of its students."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

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


def latent_teacher(tmp_path: Path, *, mirrored: bool = False) -> Path:
    """The folder of a model that has seen a step of the latents of these pictures."""
    pictures(tmp_path)
    vae = write_autoencoder(tmp_path / "vae", in_channels=1, out_channels=1)
    (tmp_path / "latents.toml").write_text(CONFIG)
    settings = [f"latent.autoencoder={vae}", f"data.flip={str(mirrored).lower()}"]
    settings += ["diffusion.clip=false", "train.steps=1"]
    line = ["train", str(tmp_path / "latents.toml"), "--data", str(tmp_path / "data")]
    line += [f"--set={setting}" for setting in settings]
    assert main([*line, "--out", str(tmp_path / "models")]) == 0
    return tmp_path / "models" / "latents"
