"""The catalog: what a worker does with good, bad and changing checkpoints."""

import json
import logging
import re
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    LATEST,
    MANIFEST,
    WEIGHTS,
    publish,
    read_manifest,
    save_checkpoint,
    write_manifest,
)
from models.companions import AUTOENCODER, CONFIG, ENCODER, ENCODER_WEIGHTS
from models.manifest import CheckpointError
from models.unet import UNet
from tests.companions import write_autoencoder, write_text_checkpoint
from tests.support import eventually, write_checkpoint
from worker.catalog import Catalog, Loaded, Loading
from worker.engine.precision import Plan, plan


def catalog(root: Path) -> Catalog:
    device = torch.device("cpu")
    return Catalog(root, device=device, plan=plan("balanced", device=device, cores=1))


def wait_for(models: Catalog, version: str) -> Loaded | None:
    """What becomes of a version that has to be loaded."""
    return eventually(
        lambda: None if isinstance(found := models.find(version), Loading) else (found,),
        what="loading",
    )[0]


def test_cards_describe_what_is_served(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step=1)
    write_checkpoint(tmp_path, step=2)
    models = catalog(tmp_path)
    models.refresh()
    (card,) = models.cards()
    assert (card.id, card.version) == ("tiny", "tiny@0000002")
    assert card.versions == ["tiny@0000001", "tiny@0000002"]
    assert card.classes == ["Circle", "Square", "Ankle boot"]
    assert (card.height, card.width, card.channels, card.timesteps) == (8, 8, 1, 1000)


def test_a_new_version_is_found_and_an_old_one_stays_to_be_had(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step=1)
    models = catalog(tmp_path)
    models.refresh()
    before = models.find("tiny@0000001")
    write_checkpoint(tmp_path, step=2)
    models.refresh()
    assert [card.version for card in models.cards()] == ["tiny@0000002"]
    assert models.find("tiny@0000001") is before
    publish(tmp_path, "tiny", 1)
    models.refresh()
    assert [card.version for card in models.cards()] == ["tiny@0000001"]


def test_unknown_versions_are_not_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step=1)
    models = catalog(tmp_path)
    models.refresh()
    for version in ("tiny@0000009", "tiny", "other@0000001", "../tiny@0000001", "tiny@x"):
        assert models.find(version) is None


@pytest.mark.parametrize("damage", ["truncated", "wrong digest", "other format", "missing"])
def test_a_bad_checkpoint_is_one_line_and_the_old_one_goes_on(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, step=1)
    models = catalog(tmp_path)
    models.refresh()
    folder = write_checkpoint(tmp_path, step=2)
    weights = (folder / WEIGHTS).read_bytes()
    if damage == "truncated":
        (folder / WEIGHTS).write_bytes(weights[:100])
    elif damage == "wrong digest":
        (folder / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    elif damage == "other format":
        text = (folder / MANIFEST).read_text()
        (folder / MANIFEST).write_text(text.replace('"format": 1', '"format": 99'))
    else:
        (folder / WEIGHTS).unlink()
    with caplog.at_level(logging.ERROR):
        models.refresh()
        models.refresh()
    assert [card.version for card in models.cards()] == ["tiny@0000001"]
    assert len(caplog.records) == 1
    assert "still serving tiny@0000001" in caplog.text
    assert models.names == ["tiny"]
    assert models.find("tiny@0000001") is not None
    assert models.cards()[0].versions == ["tiny@0000001"]
    assert models.find("tiny@0000002") is None


def foreign_encoder(folder: Path) -> None:
    config = folder / ENCODER / CONFIG
    config.write_text(config.read_text().replace('"bert"', '"t5"'))


def no_safetensors(folder: Path) -> None:
    (folder / ENCODER / ENCODER_WEIGHTS).unlink()


def odd_positions(folder: Path) -> None:
    config = folder / ENCODER / CONFIG
    words = {**json.loads(config.read_text()), "max_position_embeddings": None}
    config.write_text(json.dumps(words))


def no_numbers(folder: Path) -> None:
    weights = load_file(folder / ENCODER / ENCODER_WEIGHTS)
    weights["encoder.layer.1.output.LayerNorm.bias"].fill_(float("nan"))
    save_file(weights, folder / ENCODER / ENCODER_WEIGHTS, metadata={"format": "pt"})


def another_factor(folder: Path) -> None:
    write_autoencoder(folder / AUTOENCODER, kind="tiny")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (foreign_encoder, "model_type = 't5' is not supported"),
        (odd_positions, "max_position_embeddings = None"),
        (no_safetensors, "only whole safetensors are read"),
        (no_numbers, "0000002: the text encoder gave states that are no numbers"),
        (another_factor, "at 1/4 of the size; the manifest says 4 of 3 at 1/2"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_one_line_and_the_old_version_goes_on(
    tmp_path: Path,
    spoil: Callable[[Path], None],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, folder = write_text_checkpoint(tmp_path, latent=True), tmp_path / ".spoilt"
    models = catalog(tmp_path)
    models.refresh()
    shutil.copytree(first, folder)
    spoil(folder)
    manifest = read_manifest(first)
    save_checkpoint(
        tmp_path,
        replace(manifest, step=2),
        weights=load_file(first / WEIGHTS),
        companions={
            name: folder / name
            for name in manifest.files
            if name != WEIGHTS and (folder / name).is_file()
        },
    )
    with pytest.raises(CheckpointError, match=re.escape(says)):
        publish(tmp_path, "words", 2)
    (tmp_path / "words" / LATEST).write_text("0000002")
    with caplog.at_level(logging.ERROR):
        models.refresh()
        models.refresh()
    (line,) = caplog.messages
    assert says in line
    assert line.endswith("; still serving words@0000001")
    assert [card.versions for card in models.cards()] == [["words@0000001"]]


class Readings:
    """How often a file is opened, as Python's audit events tell it."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = str(path), 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        self.count += event == "open" and str(arguments[0]) == self.path


@pytest.mark.parametrize("name", [WEIGHTS, "text_encoder/model.safetensors"])
def test_a_damaged_checkpoint_is_read_again_when_it_changes_and_not_before(
    tmp_path: Path, name: str
) -> None:
    file = write_text_checkpoint(tmp_path) / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    readings, models = Readings(file), catalog(tmp_path)
    for _ in range(3):
        models.refresh()
    assert (models.names, readings.count) == ([], 1)
    file.write_bytes(whole)
    models.refresh()
    assert models.names == ["words"]


def test_an_older_version_that_turns_out_damaged_leaves_the_card(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path, step=1) / WEIGHTS
    write_checkpoint(tmp_path, step=2)
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    models = catalog(tmp_path)
    models.refresh()
    assert wait_for(models, "tiny@0000001") is None
    models.refresh()
    assert models.cards()[0].versions == ["tiny@0000002"]


def test_another_version_loads_while_nobody_waits_for_it(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step=step)
    models = catalog(tmp_path)
    models.refresh()
    threads: set[str] = set()

    def notice(*_: object) -> None:
        threads.add(threading.current_thread().name.partition("_")[0])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(notice)
    try:
        assert models.find("tiny@0000001") == Loading("tiny@0000001")
        assert isinstance(models.find("tiny@2"), Loading)
        for step in (1, 2):
            found = wait_for(models, f"tiny@{step}")
            assert found is not None
            assert found.manifest.step == step
            assert models.find(f"tiny@{step:07d}") is found
    finally:
        handle.remove()
    assert threads == {"loader"}


def test_a_worker_begins_with_its_smallest_model_and_promises_the_others(tmp_path: Path) -> None:
    write_text_checkpoint(tmp_path, latent=True)
    write_checkpoint(tmp_path, step=1)
    write_checkpoint(tmp_path, step=2)
    models = catalog(tmp_path)
    first = models.begin("not there")
    assert first is not None
    assert (first.manifest.version, models.names) == ("tiny@0000002", ["tiny"])
    before = {card.id: card for card in models.cards()}
    assert before["tiny"].versions == ["tiny@0000001", "tiny@0000002"]
    (other,) = set(before) - {"tiny"}
    assert isinstance(models.find(before[other].version), Loading)
    asked = wait_for(models, before[other].version)
    assert asked is not None
    models.refresh()
    assert models.names == sorted(before)
    assert models.find(before[other].version) is asked, "loaded once"
    assert {card.id: card for card in models.cards()} == before


def test_a_new_model_is_loaded_in_a_pause_and_promised_before(tmp_path: Path) -> None:
    quiet = 0.0
    device = torch.device("cpu")
    models = Catalog(
        tmp_path,
        device=device,
        plan=plan("balanced", device=device, cores=1),
        quiet_seconds=lambda: quiet,
    )
    write_checkpoint(tmp_path, step=1)
    models.look()
    assert models.names == ["tiny"], "nothing is served that loading could delay"
    write_checkpoint(tmp_path, "other", step=1)
    models.look()
    models.look()
    assert [card.id for card in models.cards()] == ["tiny", "other"]
    assert models.names == ["tiny"]
    other = tmp_path / "other" / "0000001"
    write_manifest(other, replace(read_manifest(other), quality={"agreement": 0.9}))
    models.look()
    assert models.cards()[1].quality == {"agreement": 0.9}, "a promise is kept up to date, too"
    assert models.names == ["tiny"]
    write_checkpoint(tmp_path, step=2)
    models.look()
    assert models.cards()[0].version == "tiny@0000002", "what is served is kept up to date"
    quiet = 5.0
    models.look()
    assert models.names == ["other", "tiny"]


def test_a_damaged_model_is_not_promised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_checkpoint(tmp_path, step=1)
    weights = write_checkpoint(tmp_path, "other", step=1) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    models = catalog(tmp_path)
    models.begin("other")
    assert [card.id for card in models.cards()] == ["tiny"]
    models.refresh()
    assert [card.id for card in models.cards()] == ["tiny"]
    assert caplog.text.count("its manifest says") == 1


@pytest.mark.parametrize(
    ("plan", "sizes"), [(Plan((1, 2, 4, 8)), (1, 2, 4)), (Plan((1, 8), alike=8), (8,))]
)
def test_a_model_that_memory_holds_in_smaller_chunks_only_is_served(
    tmp_path: Path, plan: Plan, sizes: tuple[int, ...]
) -> None:
    write_checkpoint(tmp_path)
    device = torch.device("cpu")
    models = Catalog(tmp_path, device=device, plan=plan)

    def cramped(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, UNet) and len(arguments[0]) > 4:
            raise torch.OutOfMemoryError("out of memory")

    handle = torch.nn.modules.module.register_module_forward_pre_hook(cramped)
    try:
        models.refresh()
    finally:
        handle.remove()
    assert models.names == ["tiny"]
    found = models.find("tiny@0000001")
    assert isinstance(found, Loaded)
    assert found.weights.sizes == sizes


def test_nothing_there_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = catalog(tmp_path / "nowhere")
    with caplog.at_level(logging.ERROR):
        models.refresh()
        models.refresh()
    assert len(caplog.records) == 1
    assert "cannot be read (No such file or directory); waiting" in caplog.text
    assert models.names == []


def test_a_folder_that_cannot_be_looked_into_is_said_once_and_the_others_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "closed").symlink_to("x" * 300)  # as one that may not be entered, also for root
    models = catalog(tmp_path)
    with caplog.at_level(logging.ERROR):
        models.refresh()
        models.refresh()
    assert models.names == ["tiny"]
    assert caplog.messages == [f"{tmp_path / 'closed'} cannot be read (File name too long)"]


def test_a_checkpoint_in_the_wrong_folder_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, step=1)
    (tmp_path / "tiny").rename(tmp_path / "other")
    models = catalog(tmp_path)
    models.refresh()
    assert models.names == []
    assert "says it is tiny@0000001" in caplog.text


def test_figures_noted_later_reach_the_card(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    models = catalog(tmp_path)
    models.refresh()
    write_manifest(folder, replace(read_manifest(folder), quality={"agreement": 0.9}))
    models.refresh()
    assert models.cards()[0].quality == {"agreement": 0.9}


@pytest.mark.parametrize("change", ['"norm_groups": 0', '"norm_groups": -4'])
def test_a_manifest_with_impossible_numbers_is_refused(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_checkpoint(tmp_path) / MANIFEST
    manifest.write_text(manifest.read_text().replace('"norm_groups": 4', change))
    models = catalog(tmp_path)
    models.refresh()
    assert models.names == []
    assert "at least 1" in caplog.text
