"""A training run from its first step to its last: reports, checkpoints, curves, and stopping.

Every random choice is a function of (seed, step): the order of the pictures, their timesteps,
noise, flips, dropped labels, and dropout. So a resumed run repeats what an uninterrupted one
would have done, and there is no generator state to save.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError

from models.checkpoint import read_manifest
from training.config import Run
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.run.growth import Table, grown_state
from training.run.heldout import HeldOut
from training.run.learner import Learner
from training.run.lesson import Lesson
from training.run.lineage import DIGESTS, LINEAGE, changes, described, digests, table_of
from training.run.posthoc import save_snapshot
from training.run.progress import Progress
from training.run.reporter import Reporter
from training.run.saving import Gate, Saver
from training.run.scalars import Scalars
from training.run.state import load_state, read_state, require_same_run, resume_state
from training.run.stopping import Watch, named, stop_signals
from training.run.team import Team
from training.run.tracking import Tracker

_CHECK_EVERY = 10  # steps between looks at the loss, each of which waits for the device


class Trainer:
    """One run: a learner, and where its checkpoints and reports go."""

    def __init__(
        self,
        config: Run,
        data: Pictures,
        lesson: Lesson,
        *,
        out: Path,
        device: torch.device,
        commit: str,
        team: Team | None = None,
        gate: Gate | None = None,
        held_out: HeldOut | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.team = team or Team()
        self.lesson = lesson
        self.learner = Learner(config, data, lesson, device=device, team=self.team)
        self.saver = Saver(config, data, lesson, out=out, commit=commit, gate=gate)
        self._digests: torch.Tensor | None = None
        self._tracker = tracker
        self._reporter = Reporter(
            config, data, lesson, folder=self.saver.folder, device=device, held_out=held_out
        )

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.learner.step

    @property
    def folder(self) -> Path:
        """The model's folder: checkpoints, LATEST and reports."""
        return self.saver.folder

    def run(self, *, until: int) -> None:
        """Train up to step ``until``; SIGTERM and Ctrl-C save a checkpoint and stop early.

        Raises:
            TrainingError: the loss is no longer a number, or the run's last checkpoint cannot be
                written.
        """
        train, leads = self.config.train, self.team.leads
        watch = Watch(self.step)
        with (
            stop_signals() as stop,
            Progress(
                start=self.step, until=until, batch_size=train.batch_size, shown=leads
            ) as progress,
            Scalars(
                self.folder,
                first_step=self.step,
                wanted=leads,
                say=progress.note,
                tracker=self._tracker,
            ) as scalars,
        ):
            ending = False
            while not ending:
                outcome = self.learner.advance(asked_to_stop=stop.is_set())
                watch.add(outcome)
                # Alone, a signal ends the run now; members agree on it at the next look.
                ending = self.step == until or (self.team.size == 1 and stop.is_set())
                saving = self.step % train.save_every == 0
                if self.step % _CHECK_EVERY == 0 or saving or ending:
                    loss = watch.check(self.step, self.saver.last_step)
                    ending = ending or bool(outcome.stops > 0)
                    rate = progress.update(self.step, loss=loss, last=ending)
                    scalars.add(
                        self.step,
                        loss=loss,
                        gradient_norm=float(outcome.norm),
                        learning_rate=self.learner.learning_rate(self.step - 1),
                        pictures_per_second=rate,
                    )
                if leads and (self.step % train.report_every == 0 or self.step == until):
                    self._write(
                        lambda: f"strip: {self.report(scalars, progress.note)}",
                        progress,
                        last=False,
                    )
                if leads and train.snapshot_every and self.step % train.snapshot_every == 0:
                    self._write(self._snapshot_line, progress, last=False)
                if leads and (saving or ending):
                    self._write(self._save_line, progress, last=ending)
            if self.step < until:
                progress.note(f"stopped at step {self.step}; go on with --resume")

    def report(
        self, scalars: Scalars | None = None, say: Callable[[str], None] = lambda _: None
    ) -> Path:
        """Draw the denoising strip of the averaged weights; with ``scalars``, all of the page."""
        manifest = self.saver.manifest(self.step, self.learner.network.config, self.learner.ema)
        return self._reporter.report(
            self.step, manifest, self.learner.ema, scalars=scalars, say=say
        )

    def save(self) -> Path:
        """Write a checkpoint, publish it if it may be, and drop all but the newest few."""
        learner = self.learner
        if self._digests is None:
            self._digests = digests(self.data)
        state = {**resume_state(learner), DIGESTS: self._digests}
        return self.saver.save(self.step, learner.network.config, learner.ema, state)

    def resume(self) -> str:
        """Continue from the newest checkpoint of this name.

        Returns:
            What became of the pictures and their sources since, in words; "" where all is the same.

        Raises:
            TrainingError: there is none, or it was trained with another network or other data.
            CheckpointError: its resume state is missing or damaged.
        """
        learner, data = self.learner, self.data
        folder = require_same_run(self.folder, self.config, self.lesson, data)
        manifest, state = read_manifest(folder), read_state(folder)
        noted = manifest.training.get("data", {})
        self.saver.lineage = list(manifest.training.get(LINEAGE, []))
        self.saver.changes = list(noted.get("changes", []))
        said = ""
        if found := changes(manifest, state, data, self.config):
            self.saver.changes.append({"step": manifest.step, **found})
            said = described(found, manifest, data, self.config)
        if manifest.classes != data.classes:
            ours, theirs = Table(data.classes, self.lesson.shape.null_class), table_of(manifest)
            rows = theirs.rows_for(ours, self.lesson.shape.num_class_embeds or 0)
            state = grown_state(state, rows, theirs)
        load_state(folder, state, learner)
        self.saver.last_step = self.step
        return said

    def close(self) -> None:
        """End the run's threads."""
        self.learner.close()

    def _snapshot_line(self) -> str:
        assert self.learner.averages is not None
        return f"snapshot: {save_snapshot(self.folder, self.step, self.learner.averages)}"

    def _save_line(self) -> str:
        return f"checkpoint: {self.save()}{self.saver.verdict}"

    def _write(self, write: Callable[[], str], progress: Progress, *, last: bool) -> None:
        """Write a file; a full disk does not end the run while later steps may find room."""
        try:
            progress.note(write())
        except (OSError, SafetensorError) as error:
            problem = (
                f"step {self.step} could not be written ({error}); the last whole checkpoint is "
                f"{named(self.saver.last_step)}; free some space in {self.folder}"
            )
            if last:
                raise TrainingError(f"{problem} and --resume") from error
            progress.note(f"warning: {problem}; training goes on")
