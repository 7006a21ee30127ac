"""`train CONFIG`: from a command line to a run, alone or as a member of a torchrun team."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from models.checkpoint import steps_of
from training.config import Run, load_config
from training.devices import pick_device
from training.encoding.inputs import network_shape
from training.errors import TrainingError
from training.judging.gate import AgreementGate
from training.pictures.data import Pictures, load_pictures
from training.pictures.mixture import Asked
from training.pictures.source import Split
from training.run.cpu.memory import keep_freed_memory
from training.run.lesson import Lesson, denoising
from training.run.loop import Trainer
from training.run.team import Team, join_team, micro_batches


def train(arguments: argparse.Namespace) -> None:
    """Train a network and publish its checkpoints."""
    overrides = list(arguments.set)
    if arguments.steps is not None:
        overrides.append(f"train.steps={arguments.steps}")
    config = load_config(arguments.config, name=arguments.name, overrides=overrides)
    network_shape(config, 0)  # refuse before minutes of decoding
    asked = asked_data(arguments.data, config)
    carry_out(config, asked, partial(denoising, config, say=_say), arguments)


def asked_data(given: Sequence[str], config: Run) -> tuple[Asked, ...]:
    """The data sets of the command line, else those of the configuration.

    Raises:
        TrainingError: neither names one.
    """
    named = given or config.data.paths or ([config.data.path] if config.data.path else [])
    if not named:
        raise TrainingError(
            "no data: give --data PATH, a folder, a zip or a tar of pictures, or a folder of "
            "shards, parquet or IDX files; docs/training.md says where each preset's data is"
        )
    return tuple(Asked.parse(text) for text in named)


def carry_out(
    config: Run,
    asked: Path | Sequence[Asked],
    lesson: Callable[[Pictures, torch.device], Lesson],
    arguments: argparse.Namespace,
) -> None:
    """A run from its data to its last step, alone or as a member of a team.

    Args:
        asked: where the pictures are.
        lesson: what is learned from them on this device.
        arguments: the command line's `out`, `until`, `resume` and `device`.
    """
    until = config.train.steps if arguments.until is None else arguments.until
    _require_writable(arguments.out)
    device = pick_device(arguments.device)
    _require_something_to_do(arguments.out / config.name, resume=arguments.resume, until=until)
    if device.type == "cpu":
        keep_freed_memory()
    with join_team(cuda=device.type == "cuda") as team:
        if team.size > 1 and device.type == "cuda":
            device = torch.device("cuda", team.local_rank)
        micro_batches(config.train.batch_size, config.train.accumulate, team)  # refuse early, too
        with team.leader_first():
            data = _load(asked, config, "train", quiet=not team.leads)
            learned = lesson(data, device)
        trainer = Trainer(
            config,
            data,
            learned,
            out=arguments.out,
            device=device,
            commit=_git_commit(),
            team=team,
            gate=_gate(asked, config, data, device) if config.publish.gate and team.leads else None,
        )
        try:
            if arguments.resume:
                trainer.resume()
            if team.leads:
                print(_summary(trainer, team, until=until), flush=True)
            trainer.run(until=until)
        finally:
            trainer.close()


def _load(asked: Path | Sequence[Asked], config: Run, split: Split, *, quiet: bool) -> Pictures:
    captions = config.captions
    return load_pictures(
        asked,
        split=split,
        size=config.data.size,
        channels=config.data.channels,
        class_names=config.data.class_names,
        label=config.data.label,
        resize=config.data.resize,
        hold_out=config.data.hold_out,
        caption=captions.caption if captions else None,
        caption_group=captions.group if captions else None,
        quiet=quiet,
    )


def _gate(
    asked: Path | Sequence[Asked], config: Run, data: Pictures, device: torch.device
) -> AgreementGate:
    test = _load(asked, config, "test", quiet=False)
    return AgreementGate(data, test, images=config.publish.gate_images, device=device)


def _summary(trainer: Trainer, team: Team, *, until: int) -> str:
    config, data = trainer.config, trainer.data
    parameters = sum(p.numel() for p in trainer.learner.network.parameters())
    classes = f"of {len(data.classes)} classes" if data.classes else "without classes"
    if data.captions:
        classes = f"with {len(data.captions)} captions"
    height, width = config.data.size
    members = f", {team.size} processes" if team.size > 1 else ""
    return (
        f"{config.name}: {parameters / 1e6:.1f} M parameters, {len(data)} pictures {classes}, "
        f"made {width}x{height} by {config.data.resize}; "
        f"steps {trainer.step} to {until} on {trainer.device}{members}"
    )


def _require_something_to_do(folder: Path, *, resume: bool, until: int) -> None:
    steps = steps_of(folder)
    if steps and not resume:
        raise TrainingError(
            f"{folder} holds checkpoints already; --resume continues them, another --name or "
            "--out starts afresh"
        )
    reached = max(steps, default=0)
    if until <= reached:
        raise TrainingError(f"step {reached} is reached already; nothing to do until {until}")


def _require_writable(folder: Path) -> None:
    """Find out before hours of training, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrainingError(
            f"--out {folder} cannot be written ({error.strerror}); mount it writable, or give "
            "another folder with --out"
        ) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _git_commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git is on PATH
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
