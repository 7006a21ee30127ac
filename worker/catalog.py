"""The models that a worker holds: found on disk, verified, warmed up, and described by cards.

A checkpoint that cannot be used is reported once, and the version before it goes on serving. A
thread of its own looks for new versions, so that loading one holds no heartbeat up. An older
version, asked for by its step, is loaded when it is asked for.
"""

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch

from models.checkpoint import (
    LATEST,
    WEIGHTS,
    Model,
    latest_step,
    load_model,
    read_manifest,
    steps_of,
)
from models.manifest import NAME, CheckpointError, Manifest, step_name
from wire.schemas import CardDefaults, ModelCard
from worker.engine.precision import Plan, is_out_of_memory
from worker.engine.work import Weights

log = logging.getLogger("emaki.worker")
_OLD_VERSIONS_KEPT = 4
_LOOK_EVERY = 2.0
# Whatever a folder on disk can raise on its way into memory; none of it ends the worker.
_UNUSABLE = (CheckpointError, OSError, RuntimeError, ArithmeticError, ValueError)


@dataclass(frozen=True)
class Loaded:
    """A version in memory."""

    manifest: Manifest
    weights: Weights


class Catalog:
    """Models under one checkpoints folder."""

    def __init__(self, root: Path, *, device: torch.device, plan: Plan) -> None:
        self._root, self._device, self._plan = root, device, plan
        self._served: dict[str, Loaded] = {}
        self._others: OrderedDict[str, Loaded] = OrderedDict()
        self._refused: dict[str, str] = {}
        self._refusals = 0
        self._cards: dict[str, ModelCard] = {}
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Look now, and from now on every few seconds in a thread of its own."""
        self.refresh()
        threading.Thread(target=self._watch, name="catalog", daemon=True).start()

    def cards(self) -> list[ModelCard]:
        """What the API should know, as of the last look."""
        return list(self._cards.values())

    def take_refusals(self) -> int:
        """How many checkpoints were refused since the last call."""
        count, self._refusals = self._refusals, 0
        return count

    @property
    def names(self) -> list[str]:
        """Models that can be drawn now."""
        return sorted(self._served)

    def refresh(self) -> None:
        """Look at every model's LATEST; load what is new, and bring the cards up to date."""
        for folder in self._folders():
            try:
                self._refresh(folder)
            except _UNUSABLE as error:
                self._refuse(folder.name, str(error))

    def _refresh(self, folder: Path) -> None:
        step = latest_step(folder)
        served = self._served.get(folder.name)
        if served is None or served.manifest.step != step:
            loaded = self._load(folder / step_name(step))
            if loaded.manifest.name != folder.name or loaded.manifest.step != step:
                raise CheckpointError(
                    f"{folder / step_name(step)} says it is {loaded.manifest.version}; "
                    "a checkpoint keeps its folder's name and step"
                )
            if served is not None:
                with self._lock:
                    self._remember(served)
            self._served[folder.name] = loaded
            log.info("serving %s", loaded.manifest.version)
        self._refused.pop(folder.name, None)
        # Read again: `evaluate` notes figures in a manifest that is being served.
        self._cards[folder.name] = _card(folder, read_manifest(folder / step_name(step)))

    def find(self, version: str) -> Loaded | None:
        """A version by its ``name@step``, from memory or disk; None if it is not to be had."""
        with self._lock:
            return self._find(version)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY)
            self.refresh()

    def _find(self, version: str) -> Loaded | None:
        name, _, step = version.partition("@")
        served = self._served.get(name)
        if served is not None and served.manifest.version == version:
            return served
        if version in self._others:
            self._others.move_to_end(version)
            return self._others[version]
        folders = {folder.name: folder for folder in self._folders()}
        if name not in folders or not step.isdecimal() or int(step) not in steps_of(folders[name]):
            return None
        try:
            loaded = self._load(folders[name] / step_name(int(step)))
        except _UNUSABLE as error:
            self._refuse(version, str(error))
            return None
        self._remember(loaded)
        return loaded

    def _folders(self) -> list[Path]:
        try:
            children = sorted(self._root.iterdir())
        except OSError as error:
            why = f"EMAKI_CHECKPOINTS {self._root} cannot be read ({error.strerror}); waiting"
            self._refuse("", why)
            return []
        self._refused.pop("", None)
        return [f for f in children if NAME.fullmatch(f.name) and (f / LATEST).is_file()]

    def _load(self, folder: Path) -> Loaded:
        model = load_model(folder, device=self._device, dtype=self._plan.dtype)
        weights = _weights(model, self._device, self._plan)
        self._warm_up(weights)
        return Loaded(model.manifest, weights)

    @torch.inference_mode()
    def _warm_up(self, weights: Weights) -> None:
        began = time.monotonic()
        for size in self._plan.buckets:
            x = torch.zeros((size, *weights.shape), dtype=weights.dtype, device=weights.device)
            labels = None
            if weights.classes:
                labels = torch.zeros(size, dtype=torch.int64, device=weights.device)
            try:
                weights.forward(x, torch.zeros(size, device=weights.device), labels)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or size == self._plan.buckets[0]:
                    raise
                log.warning("%s: no memory for batches of %d", weights.version, size)
                break  # the engine finds out by itself, and makes do with smaller ones
        took = time.monotonic() - began
        log.info("warmed %s up in %.1f s, batches of %s", weights.version, took, self._plan.buckets)

    def _remember(self, loaded: Loaded) -> None:
        self._others[loaded.manifest.version] = loaded
        while len(self._others) > _OLD_VERSIONS_KEPT:
            self._others.popitem(last=False)

    def _refuse(self, what: str, why: str) -> None:
        if self._refused.get(what) == why:
            return
        self._refused[what] = why
        self._refusals += 1
        served = self._served.get(what)
        keeps = f"; still serving {served.manifest.version}" if served else ""
        log.error("%s%s", why, keeps)


def _card(folder: Path, manifest: Manifest) -> ModelCard:
    height, width = manifest.network.size
    return ModelCard(
        id=manifest.name,
        created=int((folder / step_name(manifest.step) / WEIGHTS).stat().st_mtime),
        version=manifest.version,
        versions=[f"{manifest.name}@{step_name(step)}" for step in steps_of(folder)],
        classes=list(manifest.classes),
        null_class=manifest.null_class is not None or not manifest.classes,
        height=height,
        width=width,
        channels=manifest.network.channels,
        timesteps=manifest.diffusion.timesteps,
        defaults=CardDefaults(
            sampler=manifest.defaults.sampler,
            steps=manifest.defaults.steps,
            guidance_scale=manifest.defaults.guidance_scale,
        ),
        quality=dict(manifest.quality),
    )


def _weights(model: Model, device: torch.device, plan: Plan) -> Weights:
    network = model.manifest.network
    return Weights(
        version=model.manifest.version,
        forward=model.network,
        shape=(network.channels, *network.size),
        classes=network.num_class_embeds is not None,
        null_class=network.null_class,
        dtype=plan.dtype,
        device=device,
    )
