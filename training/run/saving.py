"""From a run to its checkpoints: what the manifest says, what is published, what is dropped."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import (
    LATEST,
    MANIFEST,
    RESUME,
    latest_step,
    publish,
    read_manifest,
    save_checkpoint,
    steps_of,
)
from models.ema import EMA
from models.manifest import Manifest, step_name
from models.unet import UNetConfig
from training.card import write_card
from training.config import Run
from training.pictures.data import Pictures
from training.run.lesson import Lesson
from training.run.lineage import LINEAGE, sources_of
from training.run.scalars import REPORTS

# Whether a checkpoint's folder may be published, given the folder that is (None: none is yet); and
# a few words that say why.
Gate = Callable[[Path, Path | None], tuple[bool, str]]


class Saver:
    """Writes a run's checkpoints.

    Attributes:
        gate: decides whether a checkpoint is published; None: all are.
        last_step: of the newest whole checkpoint of this run; None before the first.
        verdict: what the gate said of the last one, for a line in the log.
        changes: at which steps the run went on with other pictures or weights, and what was other.
        lineage: the models that it came from, oldest first, where the run goes on.
    """

    def __init__(
        self,
        run: Run,
        data: Pictures,
        lesson: Lesson,
        *,
        out: Path,
        commit: str,
        gate: Gate | None,
    ) -> None:
        self._run, self._data, self._lesson, self._out = run, data, lesson, out
        self._commit, self.gate = commit, gate
        self.last_step: int | None = None
        self.verdict = ""
        self.changes: list[dict[str, Any]] = []
        self.lineage: list[dict[str, Any]] = []

    @property
    def folder(self) -> Path:
        """The model's folder: checkpoints, LATEST and reports."""
        return self._out / self._run.name

    def save(self, step: int, network: UNetConfig, ema: EMA, state: Mapping[str, Tensor]) -> Path:
        """Write a checkpoint, move LATEST to it if it verifies and the gate allows, drop old ones.

        Raises:
            OSError, SafetensorError: it cannot be written; every older checkpoint is as it was.
        """
        dtype = torch.bfloat16 if self._run.publish.dtype == "bf16" else torch.float32
        remove_leftovers(self.folder)
        try:
            folder = save_checkpoint(
                self._out,
                self.manifest(step, network, ema),
                weights={name: value.to(dtype) for name, value in ema.weights.items()},
                resume=state,
                companions=self._lesson.inputs.companions if self._lesson.inputs else None,
            )
        except BaseException:
            remove_leftovers(self.folder)
            raise
        self.last_step = step
        self._publish(folder, step)
        self._drop_old()
        return folder

    def manifest(self, step: int, network: UNetConfig, ema: EMA) -> Manifest:
        """What a checkpoint of this run says about itself."""
        train, inputs = self._run.train, self._lesson.inputs
        measured = inputs.reconstruction if inputs else None
        return Manifest(
            name=self._run.name,
            step=step,
            network=network,
            diffusion=self._run.diffusion,
            classes=self._data.classes,
            defaults=self._run.publish.defaults(),
            distilled=self._lesson.distilled,
            latent=inputs.latent if inputs else None,
            text=inputs.text if inputs else None,
            training={
                **({LINEAGE: self.lineage} if self.lineage else {}),
                **self._lesson.facts,
                "ema": {"decay": train.ema_decay, "updates": ema.updates},
                **({"reconstruction": measured} if measured else {}),
                "data": {
                    "pictures": len(self._data),
                    "unreadable": self._data.unreadable,
                    "resize": self._run.data.resize,
                    "held_out": self._data.held_out,
                    "sha256": self._data.fingerprint,
                    **({"sources": sources} if (sources := sources_of(self._run)) else {}),
                    **({"changes": self.changes} if self.changes else {}),
                },
                "pictures_seen": step * train.batch_size,
                "git_commit": self._commit,
                "config": self._run.to_manifest(),
            },
        )

    def _publish(self, folder: Path, step: int) -> None:
        self.verdict = ""
        if self.gate is not None:
            has_latest = (self.folder / LATEST).is_file()
            published = self.folder / step_name(latest_step(self.folder)) if has_latest else None
            allowed, why = self.gate(folder, published)
            self.verdict = f" ({'published' if allowed else 'not published'}: {why})"
            if not allowed:
                return
        publish(self._out, self._run.name, step)
        with suppress(OSError):  # the checkpoint is whole; a card will come with the next
            manifest = read_manifest(folder)
            write_card(self.folder, manifest, strips=self.folder / REPORTS, diffusers=False)

    def _drop_old(self) -> None:
        publish = self._run.publish
        published = latest_step(self.folder) if (self.folder / LATEST).is_file() else None
        for step in steps_of(self.folder)[: -publish.keep]:
            if step == published:
                continue
            folder = self.folder / step_name(step)
            (folder / RESUME).unlink(missing_ok=True)
            unpublished = (folder / MANIFEST).stat().st_mtime  # or written, and never published
            if time.time() - unpublished >= publish.keep_minutes * 60:
                # Renamed first, so that a kill leaves no half of a checkpoint.
                shutil.rmtree(folder.rename(self.folder / f".tmp-old-{folder.name}"))


def remove_leftovers(folder: Path) -> None:
    """Delete what a save that was killed or failed has left in a model's folder."""
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
