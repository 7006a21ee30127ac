"""The models that a worker holds: found on disk, verified, warmed up, and described by cards.

A checkpoint that cannot be used is reported once, is on no card, and is not read again before its
files change; the version before it goes on serving. One thread watches the folder and another
loads, so that nothing else waits for either. A worker serves as soon as it holds one model; the
others are loaded in the next pause, or when they are asked for, as older versions are.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.autoencoder import preview
from models.checkpoint import (
    LATEST,
    RESUME,
    WEIGHTS,
    Model,
    check_size,
    latest_step,
    load_model,
    read_manifest,
    steps_of,
    verify,
)
from models.companions import Latent
from models.cores import Cores
from models.manifest import NAME, CheckpointError, FileRecord, Manifest, step_name
from wire.schemas import CardDefaults, Conditioning, LearnedOffer, ModelCard, ResolvedRequest
from worker.engine.memory import is_out_of_memory
from worker.engine.precision import Plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights
from worker.words import Conditions, Words, of_classes

log = logging.getLogger("emaki.worker")
_OLD_VERSIONS_KEPT = 4
_LOOK_EVERY = 2.0
_LONGEST_STEP = 12  # digits
_PAUSE = 1.0  # seconds without a step after which a model that nobody asked for is loaded
_LONGEST_WAIT = 30.0  # seconds, for such a pause
_TRY_AGAIN = 60.0  # seconds until what may pass by itself (no memory, no access) is tried again
# Whatever a folder on disk can raise on its way into memory; none of it ends the worker.
_UNUSABLE = (
    *(CheckpointError, OSError, RuntimeError, ArithmeticError, ValueError, MemoryError),
    *(TypeError, LookupError, AttributeError),  # of what others' code makes of odd descriptions
)

_Stamp = frozenset[tuple[int, int, int]]


@dataclass(frozen=True)
class Loaded:
    """A version in memory."""

    manifest: Manifest
    weights: Weights
    written: float  # the weights' file's modification time, in Unix seconds
    words: Words | None = None  # where pictures are drawn from prompts

    def conditions(self, request: ResolvedRequest) -> Future[Conditions]:
        """What its pictures are drawn for; not there at once where words must be encoded."""
        if self.words is not None:
            return self.words.conditions(request.prompts, request.negative_prompt)
        # By name: another version may have other classes, or another order.
        index = self.manifest.classes.index
        names = (*request.class_names, request.negative_class)
        *labels, negative = (None if name is None else index(name) for name in names)
        return of_classes(labels, negative)


@dataclass(frozen=True)
class Loading:
    """A version that is on its way into memory; ask again."""

    version: str


@dataclass(frozen=True)
class _Seen:
    """What is known of a checkpoint's folder, for as long as its files keep this stamp."""

    stamp: _Stamp
    manifest: Manifest | None = None
    fault: str | None = None
    until: float = float("inf")
    intact: bool = False  # its files' digests were compared


def _nothing_to_prepare(_weights: Weights) -> None:
    pass


def _nothing_is_drawn() -> float:
    return float("inf")


class Catalog:
    """Models under one checkpoints folder.

    Args:
        prepare: told of weights before they are served, in the loader's thread.
        quiet_seconds: for how long nothing has been drawn.
    """

    def __init__(
        self,
        root: Path,
        *,
        device: torch.device,
        plan: Plan,
        prepare: Callable[[Weights], object] = _nothing_to_prepare,
        quiet_seconds: Callable[[], float] = _nothing_is_drawn,
    ) -> None:
        self._root, self._device, self._plan = root, device, plan
        self._prepare, self._quiet_seconds = prepare, quiet_seconds
        self._cores = Cores(plan.cores)
        self._served: dict[str, Loaded] = {}
        self._others: OrderedDict[str, Loaded] = OrderedDict()
        self._loading: dict[str, Future[Loaded]] = {}
        self._seen: dict[Path, _Seen] = {}
        self._waiting: dict[str, float] = {}  # since when, for a pause
        self._said: dict[str, str] = {}  # what was refused last, and why
        self._refusals = 0
        self._cards: dict[str, ModelCard] = {}
        self._lock = threading.RLock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def begin(self, first: str) -> Loaded | None:
        """Describe all models that are there, and load that one, or else the smallest.

        Returns None where no model can be loaded. `watch` sees to the others; what is asked of
        them waits until they are loaded.
        """
        folders = sorted(self._folders(), key=lambda folder: folder.name != first)
        for folder in folders:
            self._describe(folder)
        for folder in folders:
            self._refresh(folder)
            if folder.name in self._served:
                return self._served[folder.name]
        return None

    def watch(self) -> None:
        """Look from now on every few seconds in a thread of its own."""
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
            self._refresh(folder)

    def look(self) -> None:
        """The same, but that a new model is described, as it is now, and loaded in a pause."""
        for folder in self._folders():
            if folder.name not in self._served:
                self._describe(folder)
            if folder.name in self._served or self._may_load(folder.name):
                self._refresh(folder)

    def find(self, version: str) -> Loaded | Loading | None:
        """A version by its ``name@step``, at once; None if it is not to be had."""
        name, _, step = version.partition("@")
        if not step.isdecimal() or len(step) > _LONGEST_STEP:
            return None
        version = f"{name}@{step_name(int(step))}"
        with self._lock:
            here = self._in_memory(version)
            if here is not None or version in self._loading:
                return here or Loading(version)
            models = {folder.name: folder for folder in self._folders()}
            if name not in models or int(step) not in steps_of(models[name]):
                return None
            folder = models[name] / step_name(int(step))
            if self._look(folder).fault is not None:
                return None
            self._start_loading(version, folder)
        return Loading(version)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY)
            try:
                self.look()
            except Exception:
                log.exception("the checkpoints could not be looked at; they are looked at again")

    def _may_load(self, name: str) -> bool:
        """Whether loading it is no burden to what is being drawn, or has waited long enough."""
        waited = time.monotonic() - self._waiting.setdefault(name, time.monotonic())
        pause = self._quiet_seconds() > _PAUSE
        return pause or waited > _LONGEST_WAIT or not self._served

    def _refresh(self, folder: Path) -> None:
        try:
            self._serve(folder, latest_step(folder))
            self._said.pop(folder.name, None)
        except _UNUSABLE as error:
            self._refuse(folder.name, str(error))
        if folder.name in self._served:
            self._cards[folder.name] = self._card(folder, self._served[folder.name])
        else:
            self._cards.pop(folder.name, None)

    def _describe(self, folder: Path) -> None:
        """A card before there is a model, where its files are what the manifest says."""
        with suppress(*_UNUSABLE):  # which loading will say
            latest = folder / step_name(latest_step(folder))
            seen = self._look(latest)
            if seen.manifest is not None:
                with self._noted(latest, seen.stamp):
                    if not seen.intact:
                        self._verify(latest, seen, seen.manifest)
                    written = (latest / WEIGHTS).stat().st_mtime
                steps = self._usable(folder, seen.manifest.step)
                self._cards[folder.name] = card_of(seen.manifest, steps, created=int(written))

    def _verify(self, folder: Path, seen: _Seen, manifest: Manifest) -> None:
        """Compare all digests; once, while the files keep this stamp."""
        for name in _served_files(manifest):
            verify(folder, manifest, name=name)
        with self._lock:
            if self._seen.get(folder) is seen:
                self._seen[folder] = replace(seen, intact=True)

    def in_memory(self, version: str) -> Loaded | None:
        """A version that need not be loaded."""
        with self._lock:
            return self._in_memory(version)

    def _in_memory(self, version: str) -> Loaded | None:
        served = self._served.get(version.partition("@")[0])
        if served is not None and served.manifest.version == version:
            return served
        if version in self._others:
            self._others.move_to_end(version)
        return self._others.get(version)

    def _serve(self, folder: Path, step: int) -> None:
        served = self._served.get(folder.name)
        if served is not None and served.manifest.step == step:
            return
        fault = self._look(folder / step_name(step)).fault
        if fault is not None:
            raise CheckpointError(fault)
        version = f"{folder.name}@{step_name(step)}"
        with self._lock:
            loaded = self._in_memory(version)
            loading = None if loaded else self._start_loading(version, folder / step_name(step))
        if loading is not None:
            loaded = loading.result()
        assert loaded is not None
        with self._lock:
            self._others.pop(version, None)
            if served is not None:
                self._remember(served)
            self._served[folder.name] = loaded
        log.info("serving %s", version)

    def _start_loading(self, version: str, folder: Path) -> Future[Loaded]:
        """With the lock: what the loader's thread makes of it, begun once whoever asks."""
        if version not in self._loading:
            self._loading[version] = self._loader.submit(self._load, version, folder)
        return self._loading[version]

    def _load(self, version: str, folder: Path) -> Loaded:
        try:
            with self._noted(folder, _stamp(folder)):
                loaded = load(folder, device=self._device, plan=self._plan, cores=self._cores)
                self._prepare(loaded.weights)
        except _UNUSABLE as error:
            self._refuse(version, str(error))
            raise
        else:
            with self._lock:
                self._remember(loaded)
            return loaded
        finally:
            with self._lock:
                del self._loading[version]

    @contextmanager
    def _noted(self, folder: Path, stamp: _Stamp) -> Iterator[None]:
        """What proves unusable within is not tried again before it changes, or may have passed."""
        try:
            yield
        except _UNUSABLE as error:
            passes = isinstance(error, OSError) or is_out_of_memory(error)
            passes = passes or isinstance(error.__cause__, OSError)
            until = time.monotonic() + _TRY_AGAIN if passes else float("inf")
            with self._lock:
                self._seen[folder] = _Seen(stamp, fault=str(error), until=until)
            raise

    def _look(self, folder: Path) -> _Seen:
        """What is known of a checkpoint: its digest is compared when it is loaded, not here."""
        stamp = _stamp(folder)
        with self._lock:
            seen = self._seen.get(folder)
            if seen is not None and seen.stamp == stamp and time.monotonic() < seen.until:
                return seen
            try:
                manifest = read_manifest(folder)
                check_size(folder, manifest)
                if (manifest.name, step_name(manifest.step)) != (folder.parent.name, folder.name):
                    raise CheckpointError(
                        f"{folder} says it is {manifest.version}; "
                        "a checkpoint keeps its folder's name and step"
                    )
                seen = _Seen(stamp, manifest)
            except _UNUSABLE as error:
                seen = _Seen(stamp, fault=str(error))
            self._seen[folder] = seen
            return seen

    def _folders(self) -> list[Path]:
        """The models' folders, those with the least to load first."""
        try:
            children = list(self._root.iterdir())
        except OSError as error:
            why = f"EMAKI_CHECKPOINTS {self._root} cannot be read ({error.strerror}); waiting"
            self._refuse("", why)
            return []
        self._said.pop("", None)
        models = (f for f in children if NAME.fullmatch(f.name) and self._is_model(f))
        return sorted(models, key=lambda folder: (_latest_bytes(folder), folder.name))

    def _is_model(self, folder: Path) -> bool:
        try:
            found = (folder / LATEST).is_file()
        except OSError as error:  # one that may not be entered
            self._refuse(folder.name, f"{folder} cannot be read ({error.strerror})")
            return False
        return found

    def _remember(self, loaded: Loaded) -> None:
        self._others[loaded.manifest.version] = loaded
        while len(self._others) > _OLD_VERSIONS_KEPT:
            self._others.popitem(last=False)

    def _refuse(self, what: str, why: str) -> None:
        with self._lock:
            if why in self._said.values():
                return
            self._said[what] = why
            self._refusals += 1
            served = self._served.get(what.partition("@")[0])
        keeps = f"; still serving {served.manifest.version}" if served else ""
        log.error("%s%s", why, keeps)

    def _card(self, folder: Path, served: Loaded) -> ModelCard:
        """The served version's card, with every version that can be drawn as far as is known."""
        steps = self._usable(folder, served.manifest.step)
        # As it is on disk now: `evaluate` notes figures, and `distill tables` a table, while it is
        # being served.
        manifest = self._look(folder / step_name(served.manifest.step)).manifest
        if manifest is not None and manifest.files == served.manifest.files:
            if manifest != served.manifest:
                served = replace(served, manifest=manifest)
            with self._lock:
                self._served[folder.name] = served
        return card_of(manifest or served.manifest, steps, created=int(served.written))

    def _usable(self, folder: Path, served: int) -> list[int]:
        """The step that is served and the others that can be drawn, in order."""
        usable = {served}
        for step in steps_of(folder):
            version = f"{folder.name}@{step_name(step)}"
            fault = self._look(folder / step_name(step)).fault
            if fault is None:
                usable.add(step)
                self._said.pop(version, None)
            else:
                self._refuse(version, fault)
        return sorted(usable)


def load(folder: Path, *, device: torch.device, plan: Plan, cores: Cores) -> Loaded:
    """A checkpoint in memory, verified and tried.

    Raises:
        CheckpointError: it is damaged.
        OSError, RuntimeError, MemoryError: it cannot be read, or not be evaluated.
    """
    written = (folder / WEIGHTS).stat().st_mtime
    model = load_model(folder, device=device, dtype=plan.dtype)
    weights = probe(_weights(model, device, plan), plan, cores)
    words = None if model.encoder is None else Words(model.encoder, model.network.listen)
    return Loaded(model.manifest, weights, written, words)


def _latest_bytes(folder: Path) -> int:
    """How much there is to load of a model."""
    try:
        manifest = read_manifest(folder / step_name(latest_step(folder)))
    except _UNUSABLE:
        return 0  # said at once
    return sum(record.bytes for record in _served_files(manifest).values())


def _served_files(manifest: Manifest) -> dict[str, FileRecord]:
    """All that a worker reads of a checkpoint, beside the manifest."""
    return {name: record for name, record in manifest.files.items() if name != RESUME}


def _stamp(folder: Path) -> _Stamp:
    """What changes when a checkpoint's files do: those of an encoder's folder in it, too."""
    stamp = set()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):  # gone meanwhile
                stat = Path(parent, name).stat()
                stamp.add((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return frozenset(stamp)


def card_of(manifest: Manifest, steps: list[int], *, created: int) -> ModelCard:
    """What the API should know of a model, of which these steps can be drawn."""
    channels, height, width = manifest.picture_shape
    conditioning: Conditioning = "class" if manifest.classes else "none"
    if manifest.text is not None:
        conditioning = "text"
    distilled = manifest.distilled
    return ModelCard(
        id=manifest.name,
        created=created,
        version=manifest.version,
        versions=[f"{manifest.name}@{step_name(step)}" for step in steps],
        conditioning=conditioning,
        prompt_tokens=None if manifest.text is None else manifest.text.tokens,
        prompt_examples=[] if manifest.text is None else list(manifest.text.examples),
        classes=list(manifest.classes),
        null_class=manifest.null_class is not None or not manifest.classes,
        height=height,
        width=width,
        channels=channels,
        timesteps=manifest.diffusion.timesteps,
        defaults=CardDefaults(
            sampler=manifest.defaults.sampler,
            steps=manifest.defaults.steps,
            guidance_scale=manifest.defaults.guidance_scale,
            guidance_interval=list(manifest.defaults.guidance_interval),
        ),
        samplers=list(distilled.samplers),
        learned=[
            LearnedOffer(
                steps=table.steps,
                guidance_scale=table.guidance_scale,
                guidance_interval=list(table.guidance_interval),
            )
            for table in distilled.tables
        ],
        consistency_steps=len(distilled.consistency.levels) if distilled.consistency else 0,
        baked_guidance=distilled.guidance.scale if distilled.guidance else None,
        quality=dict(manifest.quality),
    )


def _weights(model: Model, device: torch.device, plan: Plan) -> Weights:
    network = model.manifest.network
    if device.type == "cuda":  # convolutions in bf16 use tensor cores without a transposition
        model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Weights(
        version=model.manifest.version,
        forward=model.network,
        shape=(network.channels, *network.size),
        condition=_condition(model, plan),
        dtype=plan.dtype,
        device=device,
        decode=None if model.autoencoder is None else model.autoencoder.decode,
        encode=None if model.autoencoder is None else model.autoencoder.encode,
        preview=None if model.manifest.latent is None else _preview(model.manifest.latent),
    )


def _condition(model: Model, plan: Plan) -> Condition | None:
    network = model.manifest.network
    if model.encoder is not None:
        with torch.inference_mode():
            null = model.network.listen(model.encoder.encode("").states)
        return Condition(tuple(null.shape), plan.dtype, null)
    if network.num_class_embeds is None:
        return None
    return Condition.of_classes(network.null_class)


def _preview(latent: Latent) -> Callable[[Tensor], Tensor]:
    """A guess at latents' pictures, enlarged to their size."""

    def guess(latents: Tensor) -> Tensor:
        return F.interpolate(preview(latents, latent.preview), size=latent.size)

    return guess
