"""Where a run's weights and pictures come from: its parent model, and what changed since."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import WEIGHTS, Model, load_model
from models.companions import AUTOENCODER, AUTOENCODER_WEIGHTS
from models.manifest import Manifest
from models.unet import UNet, UNetConfig
from training.card import sources_in_words
from training.config import Run, name_for
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.pictures.mixture import Asked
from training.run.growth import Inherited, Table, inherit

LINEAGE = "lineage"
DIGESTS = "data.digests"
_LEAST_SHARED = 0.5  # of the pictures, for a run to be the same run with others added


@dataclass(frozen=True)
class Parent:
    """The model that a run begins from."""

    model: Model

    @classmethod
    def load(cls, path: Path) -> "Parent":
        """A verified checkpoint of ours.

        Raises:
            TrainingError: it is a folder that diffusers reads.
            CheckpointError: nothing is there, or it is damaged.
        """
        if any((path / name).is_file() for name in ("model_index.json", "config.json")):
            command = f"convert {shlex.quote(str(path))} checkpoints/{name_for(path)}"
            raise TrainingError(
                f"{path} is a diffusers folder; make it a checkpoint first: python -m training "
                f"{command}"
            )
        return cls(load_model(path))

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        return self.model.manifest

    def facts(self) -> dict[str, Any]:
        """What the child's manifest says of it."""
        manifest = self.manifest
        data = manifest.training.get("data", {})
        own = {
            "model": manifest.version,
            "sha256": manifest.files[WEIGHTS].sha256,
            "classes": len(manifest.classes),
            "pictures": data.get("pictures"),
            "data_sha256": data.get("sha256"),
        }
        return {LINEAGE: [*manifest.training.get(LINEAGE, []), own]}

    def require_alike(self, config: Run, data: Pictures, *, autoencoder: str | None) -> None:
        """Refuse a child that would read the parent's outputs as something else.

        Args:
            autoencoder: the digest of the one whose latents the child learns; None: pixels.

        Raises:
            TrainingError: it predicts something else, in other latents, or has classes where the
                pictures have none.
        """
        theirs, ours = self.manifest.diffusion, config.diffusion
        for name in ("prediction", "schedule", "timesteps", "beta_range"):
            if getattr(theirs, name) != getattr(ours, name):
                raise TrainingError(
                    f"--init-from {self.manifest.version} has diffusion.{name} = "
                    f"{getattr(theirs, name)!r}, the configuration {getattr(ours, name)!r}: its "
                    "weights would mean something else; give the same"
                )
        encoded = self.manifest.files.get(f"{AUTOENCODER}/{AUTOENCODER_WEIGHTS}")
        if autoencoder != (None if encoded is None else encoded.sha256):
            instead = "leave it out"
            if encoded is not None:
                instead = f"give the folder {AUTOENCODER} of that checkpoint"
            raise TrainingError(
                f"--init-from {self.manifest.version} does not draw what the configuration's "
                "[latent] autoencoder makes of pictures: its weights would mean something else; "
                + instead
            )
        if self.manifest.classes and not (data.classes or data.captions):
            raise TrainingError(
                f"{self.manifest.version} has classes, and the pictures have none: put them into a "
                "folder that is named after their class"
            )

    def weights_for(self, shape: UNetConfig, classes: tuple[str, ...], seed: int) -> Inherited:
        """What a network of this shape begins with."""
        torch.manual_seed(seed)
        return inherit(
            UNet(shape),
            self.model.network.state_dict(),
            ours=Table(classes, shape.null_class),
            theirs=table_of(self.manifest),
        )


def table_of(manifest: Manifest) -> Table:
    """The class table of a checkpoint's network."""
    return Table(manifest.classes, manifest.null_class)


def summary(parent: Parent, inherited: Inherited) -> str:
    """One line: what is the parent's, and what is new."""
    total = len(inherited.weights)
    names = ", ".join(inherited.new[:8]) + (", ..." if len(inherited.new) > 8 else "")
    return (
        f"begins from {parent.manifest.version}: {inherited.kept} of {total} tensors; "
        f"new: {names or 'nothing'}"
    )


def digests(data: Pictures) -> Tensor:
    """(N,) int64: a name for each picture with its class or caption, the same in any order."""
    named = data.captions or data.classes
    found = np.empty(len(data), dtype=np.int64)
    for index, label in enumerate(data.labels.tolist()):
        said = named[label].encode(errors="surrogatepass") if named else b""
        digest = blake2b(data.images[index].tobytes(), key=said[:64], digest_size=8).digest()
        found[index] = int.from_bytes(digest, "big", signed=True)
    return torch.from_numpy(found)


def sources_of(config: Run) -> list[dict[str, Any]]:
    """The data sets as a manifest names them: without folders, for others get it, too.

    Weights that are all alike are 1: none is shown more often than others.
    """
    asked = [Asked.parse(text) for text in config.data.paths]
    even = len({one.weight for one in asked}) == 1
    return [{"name": one.name, "weight": 1.0 if even else one.weight} for one in asked]


def changes(
    manifest: Manifest, state: Mapping[str, Tensor], data: Pictures, config: Run
) -> dict[str, Any]:
    """What became of the pictures, and of where they are from, since a checkpoint.

    Args:
        state: the checkpoint's resume state.

    Returns:
        So many ``added`` and ``removed``, the ``classes`` that are new, and ``sources_before``
        where the data sets or their weights are others; nothing where all is the same.

    Raises:
        TrainingError: most pictures are others, so that it would be another run.
    """
    noted = manifest.training.get("data", {})
    found: dict[str, Any] = {}
    if noted.get("sha256") != data.fingerprint:
        found = _of_pictures(manifest, state, data)
    before, now = noted.get("sources"), sources_of(config)
    if before and now and _in_any_order(before) != _in_any_order(now):
        found = {"added": 0, "removed": 0, "classes": [], **found, "sources_before": before}
    return found


def _in_any_order(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    return sorted((one["name"], one["weight"]) for one in sources)


def _of_pictures(
    manifest: Manifest, before: Mapping[str, Tensor], data: Pictures
) -> dict[str, Any]:
    if DIGESTS not in before:
        raise TrainingError(
            f"{manifest.version} was trained on other data, and by a version that did not note "
            "which; start with another --name"
        )
    old, new = (Counter(part.tolist()) for part in (before[DIGESTS], digests(data)))
    shared = (old & new).total()
    if shared < _LEAST_SHARED * old.total():
        raise TrainingError(
            f"only {shared} of the {old.total()} pictures that it was trained on are still there; "
            "begin a new run from it with --init-from and another --name"
        )
    return {
        "added": new.total() - shared,
        "removed": old.total() - shared,
        "classes": [name for name in data.classes if name not in manifest.classes],
    }


def described(found: Mapping[str, Any], manifest: Manifest, data: Pictures, config: Run) -> str:
    """What `changes` found, in words."""
    parts = [f"{found[key]} {key}" for key in ("added", "removed") if found[key]]
    if found["classes"]:
        parts.append(f"new classes: {', '.join(found['classes'])}")
    before, said = found.get("sources_before"), []
    if parts or not before:
        what = ", ".join(parts) or "only their order"
        count = manifest.training.get("data", {}).get("pictures", 0)
        said.append(f"the pictures have changed: {what}; {len(data)} instead of {count}")
    if before:
        now = sources_in_words(sources_of(config))
        said.append(f"the sources have changed: {now} instead of {sources_in_words(before)}")
    return "; ".join(said)
