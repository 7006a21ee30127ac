"""`train CONFIG`: from a command line to a run, alone or as a member of a torchrun team."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import read_manifest, steps_of
from models.manifest import Manifest, step_name
from models.memory import keep_freed_memory
from training.config import Config, Run, load_config, name_for, to_toml
from training.devices import described, pick_device
from training.encoding.inputs import network_shape
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.pictures.mixture import Asked
from training.run.lesson import Lesson, denoising
from training.run.lineage import Parent
from training.run.loop import Trainer
from training.run.material import (
    asked_data,
    gate_for,
    held_out_for,
    load_split,
    with_sources,
)
from training.run.plan import plan
from training.run.team import Team, join_team, micro_batches
from training.run.tracking import open_tracker


def train(arguments: argparse.Namespace) -> None:
    """Train a network and publish its checkpoints."""
    if arguments.config is not None and arguments.config.is_dir():  # `train my-photos/`
        arguments.data.insert(0, str(arguments.config))
        arguments.config = None
    overrides = list(arguments.set)
    if arguments.steps is not None:
        overrides.append(f"train.steps={arguments.steps}")
    parent = parent_of(arguments)
    config = _config(arguments, overrides, parent)
    network_shape(config, 0)  # refuse before minutes of decoding
    begun = arguments.out / config.name / f"{config.name}.toml" if arguments.resume else None
    asked = asked_data(arguments.data, config, begun=begun)
    config = with_sources(config, asked)
    known = parent.manifest.classes if parent else ()
    lesson = partial(denoising, config, parent=parent, say=_say)
    carry_out(config, asked, lesson, arguments, known=known)


def parent_of(arguments: argparse.Namespace) -> Parent | None:
    """The model of `--init-from`, if it is given; a run that goes on takes none."""
    if arguments.init_from is None:
        return None
    if arguments.resume:
        raise TrainingError("--init-from begins a run and --resume goes on with one; leave one out")
    return Parent.load(arguments.init_from)


def _config(
    arguments: argparse.Namespace, overrides: Sequence[str], parent: Parent | None
) -> Config:
    """The configuration that is given, that of the run that goes on, or one that is planned."""
    if arguments.config is not None:
        return load_config(arguments.config, name=arguments.name, overrides=overrides)
    if not arguments.data and not (arguments.resume and arguments.name):
        raise TrainingError(
            "no data: give --data PATH, and have a configuration made for the pictures, or CONFIG"
        )
    asked = [Asked.parse(text) for text in arguments.data]
    name = arguments.name or name_for(asked[0].path)
    written = arguments.out / name / f"{name}.toml"
    if arguments.resume:
        return load_config(written, overrides=overrides)
    if "WORLD_SIZE" in os.environ:
        raise TrainingError(
            "several processes would each measure another speed: give torchrun a configuration; "
            f"the same command without torchrun and with --until 1 writes {written}"
        )
    _require_something_to_do(arguments.out / name, resume=False, until=1)
    config, chosen = plan(
        asked,
        name=name,
        device=pick_device(arguments.device),
        overrides=overrides,
        parent=parent,
        minutes=arguments.minutes,
    )
    for line in chosen:
        _say(line)
    return config


def carry_out(
    config: Run,
    asked: Path | Sequence[Asked],
    lesson: Callable[[Pictures, torch.device], Lesson],
    arguments: argparse.Namespace,
    *,
    known: tuple[str, ...] = (),
) -> None:
    """A run from its data to its last step, alone or as a member of a team.

    Args:
        asked: where the pictures are.
        lesson: what is learned from them on this device.
        arguments: the command line's `out`, `until`, `resume` and `device`.
        known: classes of the model that it begins from; the pictures may have others, and fewer.
    """
    folder = arguments.out / config.name
    until = config.train.steps if arguments.until is None else arguments.until
    _require_writable(arguments.out)
    device = pick_device(arguments.device)
    _require_something_to_do(folder, resume=arguments.resume, until=until)
    if arguments.resume:
        known = _newest_manifest(folder).classes or known
    if device.type == "cpu":
        keep_freed_memory()
    with join_team(cuda=device.type == "cuda") as team:
        if team.size > 1 and device.type == "cuda":
            device = torch.device("cuda", team.local_rank)
        micro_batches(config.train.batch_size, config.train.accumulate, team)  # refuse early, too
        with team.leader_first():
            data = load_split(asked, config, "train", known=known, quiet=not team.leads)
            learned = lesson(data, device)
        trainer = Trainer(
            config,
            data,
            learned,
            out=arguments.out,
            device=device,
            commit=_git_commit(),
            team=team,
            **_watchers(asked, config, data, learned, device, arguments) if team.leads else {},
        )
        try:
            changed = trainer.resume() if arguments.resume else ""
            if team.leads:
                if changed:
                    _say(changed)
                write_config(folder, config)
                print(_summary(trainer, team, until=until), flush=True)
            trainer.run(until=until)
        finally:
            trainer.close()


def _watchers(
    asked: Path | Sequence[Asked],
    config: Run,
    data: Pictures,
    learned: Lesson,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """What looks on while the run's leader trains, as `Trainer` takes it."""
    found: dict[str, Any] = {}
    if config.publish.gate:
        found["gate"] = gate_for(asked, config, data, device)
    found["held_out"] = held_out_for(asked, config, data, learned, device, say=_say)
    service = getattr(arguments, "track", None)
    if service is not None:
        folder = arguments.out / config.name
        folder.mkdir(parents=True, exist_ok=True)
        found["tracker"] = open_tracker(service, folder, config.to_json())
    return found


def _summary(trainer: Trainer, team: Team, *, until: int) -> str:
    config, data = trainer.config, trainer.data
    parameters = sum(p.numel() for p in trainer.learner.network.parameters())
    classes = f"of {len(data.classes)} classes" if data.classes else "without classes"
    if data.captions:
        classes = f"with {len(data.captions)} captions"
    height, width = config.data.size
    device = described(trainer.device, bf16=config.train.bf16)
    members = f", {team.size} processes" if team.size > 1 else ""
    return (
        f"{config.name}: {parameters / 1e6:.1f} M parameters, {len(data)} pictures {classes}, "
        f"made {width}x{height} by {config.data.resize}; "
        f"steps {trainer.step} to {until} on {device}{members}"
    )


def write_config(folder: Path, config: Run) -> None:
    """Keep a run's configuration beside it, under its name."""
    if isinstance(config, Config):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{config.name}.toml").write_text(to_toml(config), encoding="utf-8")


def _newest_manifest(folder: Path) -> Manifest:
    steps = steps_of(folder)
    if not steps:
        raise TrainingError(f"{folder} has no checkpoint to resume; leave out --resume")
    return read_manifest(folder / step_name(steps[-1]))


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
