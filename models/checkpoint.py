"""Checkpoints on disk: written once, whole or not at all, and verified before they are used.

    <root>/<name>/LATEST               the step that is served, replaced atomically
    <root>/<name>/<step>/manifest.json
    <root>/<name>/<step>/ema.safetensors      all that a worker reads
    <root>/<name>/<step>/resume.safetensors   what training needs to go on; never shipped

and what `models.companions` names, for networks that work with latents or text.
No pickle is read or written. Names are looked up, never joined into a path unchecked.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.autoencoder import Autoencoder
from models.companions import PACKAGE
from models.encoder import TextEncoder
from models.loading import find, load_companions
from models.manifest import CheckpointError, FileRecord, Manifest, check_name, step_name
from models.unet import UNet

MANIFEST = "manifest.json"
WEIGHTS = "ema.safetensors"
RESUME = "resume.safetensors"
LATEST = "LATEST"
_STEP = re.compile(r"\d{7,12}")


@dataclass(frozen=True)
class Model:
    """A verified network, in eval mode, and what its checkpoint says about it.

    Attributes:
        autoencoder: where the network's pictures are latents.
        encoder: where it is conditioned on text. Both are in float32, whatever the network is.
    """

    network: UNet
    manifest: Manifest
    autoencoder: Autoencoder | None = None
    encoder: TextEncoder | None = None


def load_model(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Model:
    """Load a checkpoint folder, or a model folder's LATEST.

    Raises:
        CheckpointError: missing, truncated, of another format, or not what its manifest says.
    """
    folder = resolve(Path(path))
    manifest = read_manifest(folder)
    for name in {WEIGHTS, *manifest.files} - {RESUME}:
        verify(folder, manifest, name=name)
    try:
        weights = load_file(folder / WEIGHTS)
        network = UNet(manifest.network)
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / WEIGHTS} does not fit its manifest: {first_line}"
        ) from error
    network.requires_grad_(requires_grad=False)
    autoencoder, encoder = load_companions(folder, manifest, device)
    return Model(network.to(device=device, dtype=dtype).eval(), manifest, autoencoder, encoder)


def resolve(path: Path) -> Path:
    """A checkpoint folder as it is, a model folder's LATEST, or a CheckpointError."""
    if (path / MANIFEST).is_file():
        return path
    if (path / LATEST).is_file():
        return path / step_name(latest_step(path))
    raise CheckpointError(
        f"{path} holds neither {MANIFEST} nor {LATEST}: no checkpoint is there; "
        "train one with `python -m training train` or publish one"
    )


def latest_step(model_folder: Path) -> int:
    """The published step of a model folder."""
    text = (model_folder / LATEST).read_text(encoding="utf-8", errors="replace").strip()
    if not _STEP.fullmatch(text):
        raise CheckpointError(
            f"{model_folder / LATEST} says {text[:40]!r}, which is no step; "
            f"run `python -m training publish {model_folder.name} STEP`"
        )
    return int(text)


def steps_of(model_folder: Path) -> list[int]:
    """All complete checkpoints of a model, oldest first."""
    if not model_folder.is_dir():
        return []
    return sorted(
        int(child.name)
        for child in model_folder.iterdir()
        if _STEP.fullmatch(child.name) and (child / MANIFEST).is_file()
    )


def read_manifest(folder: Path) -> Manifest:
    """Parse ``folder/manifest.json``; CheckpointError when it is missing or not valid."""
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    try:
        return Manifest.from_json(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def verify(folder: Path, manifest: Manifest, *, name: str = WEIGHTS) -> None:
    """Compare a file with the size and digest its manifest records."""
    record, path = check_size(folder, manifest, name=name), find(folder, name)
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if digest != record.sha256:
        raise CheckpointError(
            f"{path} has sha256 {digest[:12]}..., its manifest says {record.sha256[:12]}...: it is "
            "damaged; copy it again or roll back with `python -m training publish`"
        )


def check_size(folder: Path, manifest: Manifest, *, name: str = WEIGHTS) -> FileRecord:
    """Compare a file's size with what its manifest records, which costs nothing."""
    path, record = find(folder, name), manifest.files.get(name)
    if record is None:
        raise CheckpointError(f"{folder / MANIFEST} records no {name}")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if size != record.bytes:
        raise CheckpointError(
            f"{path} has {size} bytes, its manifest says {record.bytes}: it is truncated or "
            "was replaced; copy it again or roll back with `python -m training publish`"
        )
    return record


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(
    root: Path,
    manifest: Manifest,
    *,
    weights: Mapping[str, Tensor],
    resume: Mapping[str, Tensor] | None = None,
    companions: Mapping[str, Path] | None = None,
) -> Path:
    """Write a checkpoint into a temporary folder, sync it, and rename it into place.

    ``manifest.files`` is filled in here. LATEST does not move: see ``publish``.

    Args:
        companions: files to be copied into it, by their names there; what is called `package:...`
            stays where it is and is only recorded.

    Returns:
        The checkpoint's folder, ``root/name/step``.

    Raises:
        CheckpointError: that step exists already.
    """
    model_folder = root / manifest.name
    final = model_folder / step_name(manifest.step)
    if final.exists():
        raise CheckpointError(f"{final} exists already; a checkpoint is never overwritten")
    with whole_folder(final) as temporary:
        files = {}
        for name, tensors in ((WEIGHTS, weights), (RESUME, resume)):
            if tensors is None:
                continue
            path = temporary / name
            save_file({k: value.detach().cpu().contiguous() for k, value in tensors.items()}, path)
            path.chmod(0o644)  # safetensors keeps new files to their owner; a worker may be another
            files[name] = _record(path)
            _sync(path)
        for name, source in (companions or {}).items():
            files[name] = _record(source)
            if not name.startswith(PACKAGE):
                _copy(source, temporary / name)
        write_manifest(temporary, dataclasses.replace(manifest, files=files))
    _sync(model_folder)
    return final


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside ``final`` that gets its name at the end, or is removed."""
    temporary = final.with_name(f".tmp-{final.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _record(path: Path) -> FileRecord:
    return FileRecord(sha256=file_sha256(path), bytes=path.stat().st_size)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
    _sync(target)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace ``folder/manifest.json`` atomically."""
    _replace(folder / MANIFEST, json.dumps(manifest.to_json(), indent=1, ensure_ascii=False) + "\n")


def publish(root: Path, name: str, step: int) -> Path:
    """Verify a checkpoint, then move the model's LATEST to it, forward or back.

    The modification time of the manifest that was published before says since when it is not.

    Raises:
        CheckpointError: no such checkpoint, or it does not verify.
    """
    try:
        model_folder = root / check_name(name)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    folder = model_folder / step_name(step)
    if not folder.is_dir():
        known = ", ".join(map(str, steps_of(model_folder))) or "none"
        raise CheckpointError(f"{model_folder} has no step {step}; it has: {known}")
    load_model(folder)
    with suppress(CheckpointError, OSError):
        os.utime(model_folder / step_name(latest_step(model_folder)) / MANIFEST)
    _replace(model_folder / LATEST, folder.name + "\n")
    return folder


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
