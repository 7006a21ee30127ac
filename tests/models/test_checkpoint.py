"""Checkpoints: whole, verified, or refused with one clear line."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import CheckpointError, load_model
from models.checkpoint import (
    MANIFEST,
    WEIGHTS,
    file_sha256,
    latest_step,
    publish,
    read_manifest,
    steps_of,
    write_manifest,
)
from models.manifest import FileRecord, Manifest
from tests.support import CLASSES, write_checkpoint


def test_model_survives_the_round_trip(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, step=7)
    model, by_latest = load_model(folder), load_model(tmp_path / "tiny")
    assert model.manifest.version == "tiny@0000007"
    assert model.manifest.classes == CLASSES
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 900])
    labels = torch.tensor([0, 3])
    assert torch.equal(model.network(x, t, labels), by_latest.network(x, t, labels))
    assert not model.network.training


def test_manifest_survives_the_round_trip(tmp_path: Path) -> None:
    manifest = read_manifest(write_checkpoint(tmp_path))
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "exponential"},
        {"schedule": "sigmoid", "timesteps": 200},
        {"schedule": "scaled_linear", "beta_range": (0.00085, 0.012)},
        {"schedule": "linear", "beta_range": None},
    ],
)
def test_every_schedule_is_told_by_the_manifest(tmp_path: Path, changes: dict[str, Any]) -> None:
    manifest = read_manifest(write_checkpoint(tmp_path))
    changed = replace(manifest, diffusion=replace(manifest.diffusion, **changes))
    parsed = Manifest.from_json(json.loads(json.dumps(changed.to_json())))
    assert parsed.diffusion == changed.diffusion
    assert parsed.diffusion.build_table("dpmpp_2m", 10).steps == 10


def test_a_manifest_from_before_beta_ranges_still_loads(tmp_path: Path) -> None:
    manifest = read_manifest(write_checkpoint(tmp_path))
    data = manifest.to_json()
    del data["diffusion"]["beta_range"]
    assert Manifest.from_json(data) == manifest


def test_latest_moves_forward_and_back(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        write_checkpoint(tmp_path, step=step)
    assert steps_of(tmp_path / "tiny") == [1, 2, 30]
    assert latest_step(tmp_path / "tiny") == 30
    publish(tmp_path, "tiny", 2)
    assert load_model(tmp_path / "tiny").manifest.step == 2


def test_latest_does_not_move_to_what_is_missing_or_damaged(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step=1)
    damaged = write_checkpoint(tmp_path, step=2, published=False)
    (damaged / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="truncated or was replaced"):
        publish(tmp_path, "tiny", 2)
    with pytest.raises(CheckpointError, match="no step 9; it has: 1, 2"):
        publish(tmp_path, "tiny", 9)
    with pytest.raises(CheckpointError, match="cannot be a model's name"):
        publish(tmp_path, "../tiny", 1)
    assert latest_step(tmp_path / "tiny") == 1


def test_a_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="never overwritten"):
        write_checkpoint(tmp_path)


def edit_manifest(folder: Path, **changes: Any) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**data, **changes}))


def test_damaged_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"has sha256 .* it is damaged"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "checkpoint format 2 is not 1"),
        ({"format": None}, "checkpoint format None"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"step": "7"}, "manifest.step = '7' is not int"),
        ({"network": {}}, "not valid"),
        ({"files": {}}, f"records no {WEIGHTS}"),
        ({"defaults": {"steps": 5000}}, "defaults.steps 5000 is not in 1 ... 1000"),
        ({"defaults": {"sampler": "euler"}}, "'euler' is not one of"),
        ({"name": "../up"}, "cannot be a model's name"),
        ({"classes": ["A", "A"]}, "same name"),
    ],
)
def test_manifests_that_make_no_sense_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = write_checkpoint(tmp_path)
    edit_manifest(folder, **change)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["network"]["block_channels"] = [8, 16]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="does not fit its manifest"):
        load_model(folder)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds neither manifest.json nor LATEST"):
        load_model(tmp_path)
    folder = write_checkpoint(tmp_path)
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_model(folder)
    (folder / MANIFEST).write_text('{"format": 1')
    with pytest.raises(CheckpointError, match="is not JSON"):
        load_model(folder)
    (tmp_path / "tiny" / "LATEST").write_text("../../etc/passwd\n")
    with pytest.raises(CheckpointError, match="which is no step"):
        load_model(tmp_path / "tiny")


def test_a_pickle_in_place_of_the_weights_does_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = write_checkpoint(tmp_path)
    (folder / WEIGHTS).write_bytes(pickle.dumps(Malicious()))
    size = (folder / WEIGHTS).stat().st_size
    record = FileRecord(sha256=file_sha256(folder / WEIGHTS), bytes=size)
    write_manifest(folder, replace(read_manifest(folder), files={WEIGHTS: record}))
    with pytest.raises(CheckpointError, match="does not fit its manifest"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()
