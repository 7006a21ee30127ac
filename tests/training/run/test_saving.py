"""Checkpoints survive kills and full disks; what is published and what is dropped."""

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import checkpoint
from models.checkpoint import (
    LATEST,
    RESUME,
    latest_step,
    load_model,
    read_manifest,
    steps_of,
    write_manifest,
)
from models.manifest import step_name
from tests.training.data import NAMES, write_idx
from tests.training.run.test_loop import trainer
from training.errors import TrainingError
from training.judging.gate import AgreementGate
from training.judging.history import quality_of
from training.metrics import read_metrics
from training.pictures.data import load_pictures
from training.run.loop import Trainer


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond ``size`` bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_and_die(run: Trainer, at: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Save in a process that kills itself when it syncs for the ``at``-th time; did it die?"""
    sync, calls = os.fsync, 0

    def die(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            monkeypatch.setattr(os, "fsync", die)
            run.save()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_kill_anywhere_in_a_save_leaves_a_run_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path)
    run.run(until=8)
    run.learner.advance()
    run.learner.close()
    again = trainer(tmp_path)
    kills = 0
    while save_and_die(run, kills + 1, monkeypatch):
        kills += 1
        again.resume()
        assert again.step in (8, 9)
        assert load_model(run.folder).manifest.step in (8, 9)
        if again.step == 9:
            checkpoint.publish(run.saver.folder.parent, "shapes", 8)
            shutil.rmtree(run.folder / "0000009")
    assert kills >= 6  # two files, manifest, folders, LATEST
    assert steps_of(run.folder) == [8, 9]
    assert latest_step(run.folder) == 9
    assert not list(run.folder.glob(".tmp-*"))


def test_a_full_disk_leaves_the_previous_checkpoint_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path)
    run.run(until=4)
    with (
        largest_file(20_000),
        pytest.raises(TrainingError, match="last whole checkpoint is step 4"),
    ):
        run.run(until=12)
    assert run.step == 12
    said = capsys.readouterr().err
    assert "warning: step 8 could not be written" in said
    assert "training goes on" in said
    assert steps_of(run.folder) == [4]
    assert load_model(run.folder).manifest.step == 4
    assert not list(run.folder.glob(".tmp-*"))
    assert run.save().name == "0000012"  # there is room again


def test_weights_that_waiting_requests_may_need_are_kept_a_while(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.save_every=3", "publish.keep=1", "publish.keep_minutes=5")
    run.run(until=9)
    assert steps_of(run.folder) == [3, 6, 9]
    assert [(run.folder / step_name(step) / RESUME).exists() for step in (3, 6, 9)] == [
        *(False, False, True)
    ]
    assert load_model(run.folder / step_name(3)).manifest.step == 3
    six_minutes_ago = time.time() - 360
    for step in (3, 9):  # long out of use, and in use for long
        manifest = run.folder / step_name(step) / checkpoint.MANIFEST
        os.utime(manifest, (six_minutes_ago, six_minutes_ago))
    run.learner.advance()
    run.save()
    assert steps_of(run.folder) == [6, 9, 10]


def test_the_published_checkpoint_is_never_dropped(tmp_path: Path) -> None:
    verdicts = iter([True, False, False, False])
    run = trainer(tmp_path, "out", "train.save_every=3", "publish.keep=1")
    run.saver.gate = lambda new, published: (next(verdicts), f"{new.name} after {published}")
    run.run(until=12)
    assert steps_of(run.folder) == [3, 12]
    assert latest_step(run.folder) == 3
    assert (run.folder / LATEST).read_text() == "0000003\n"


def test_the_gate_keeps_a_worse_checkpoint_from_being_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_idx(tmp_path / "data", train=300, test=60)
    good = trainer(tmp_path, "out", "train.save_every=100", "train.steps=200", "publish.keep=9")
    train, test = (
        load_pictures(tmp_path / "data", split=split, size=(8, 8), channels=1, class_names=NAMES)
        for split in ("train", "test")
    )
    good.saver.gate = AgreementGate(train, test, images=30, device=good.device)
    good.run(until=100)
    assert latest_step(good.folder) == 100
    assert "(published: class agreement" in capsys.readouterr().err
    learnt = read_manifest(good.folder / "0000100").quality["class_agreement"]["drawn"]
    for weight in good.learner.ema.weights.values():
        weight.mul_(0.3)  # a network that draws nothing one could recognise
    good.learner.step = 101
    good.save()
    assert "not published: class agreement" in good.saver.verdict
    spoilt = read_manifest(good.folder / "0000101").quality["class_agreement"]["drawn"]
    assert spoilt < learnt
    shutil.rmtree(good.folder / "0000101")  # its figure stays, for the run's page
    found = quality_of(good.folder, read_metrics(good.folder))
    assert {step: one["class_agreement"]["drawn"] for step, one in found.items()} == {
        100: learnt,
        101: spoilt,
    }
    assert latest_step(good.folder) == 100

    # What was noted under the same conditions is not measured again.
    published = read_manifest(good.folder / "0000100")
    noted = {**published.quality["class_agreement"], "drawn": 0.123}
    quality = {**published.quality, "class_agreement": noted}
    write_manifest(good.folder / "0000100", dataclasses.replace(published, quality=quality))
    good.learner.step = 102
    good.save()
    assert "0000100 has 12.3%" in good.saver.verdict
