"""What a stranger puts among the checkpoints does not run; what he asks for reaches no path."""

import dataclasses
import hashlib
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.checkpoint import MANIFEST, WEIGHTS, publish, read_manifest, write_manifest
from models.manifest import CheckpointError, FileRecord
from tests.support import write_checkpoint
from training.__main__ import main
from worker.catalog import Catalog, Loading
from worker.engine.precision import plan

CPU = torch.device("cpu")


class Payload:
    """Unpickled, it leaves a proof."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def old_pickle(path: Path, proof: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(proof)))


def torch_zip(path: Path, proof: Path) -> None:
    torch.save(Payload(proof), path)


def as_numpy(path: Path, proof: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Payload(proof)))


WRITERS = pytest.mark.parametrize("write", [old_pickle, torch_zip, as_numpy])


def catalog(root: Path) -> Catalog:
    models = Catalog(root, device=CPU, plan=plan("balanced", device=CPU, cores=1))
    models.refresh()
    return models


def test_the_payloads_would_run_if_they_were_loaded(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists()


@WRITERS
def test_a_pickle_among_the_checkpoints_is_left_alone(
    tmp_path: Path, write: Callable[[Path, Path], None]
) -> None:
    root, proof = tmp_path / "checkpoints", tmp_path / "ran"
    write_checkpoint(root, "good")
    for place in ("evil.pt", "good/evil.pt", "good/0000001/evil.pt", "good/0000001/resume.pt"):
        write(root / place, proof)
    assert catalog(root).names == ["good"]
    assert not proof.exists()


@WRITERS
def test_a_pickle_in_place_of_weights_is_refused_and_does_not_run(
    tmp_path: Path, write: Callable[[Path, Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    root, proof = tmp_path / "checkpoints", tmp_path / "ran"
    write_checkpoint(root, "good")
    folder = write_checkpoint(root, "evil")
    write(folder / WEIGHTS, proof)
    data = (folder / WEIGHTS).read_bytes()
    record = FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    manifest = read_manifest(folder)
    write_manifest(folder, dataclasses.replace(manifest, files={WEIGHTS: record}))
    models = catalog(root)
    assert models.names == ["good"]
    assert f"{folder / WEIGHTS} does not fit its manifest" in caplog.text
    assert models.find("evil@0000001") is None
    assert not proof.exists()


def test_a_pickle_in_place_of_a_manifest_is_refused_and_does_not_run(tmp_path: Path) -> None:
    root, proof = tmp_path / "checkpoints", tmp_path / "ran"
    folder = write_checkpoint(root, "evil")
    old_pickle(folder / MANIFEST, proof)
    assert catalog(root).names == []
    assert not proof.exists()


@WRITERS
def test_the_command_line_does_not_load_a_pickle(
    tmp_path: Path, write: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    proof = tmp_path / "ran"
    write(tmp_path / "evil.pt", proof)
    assert main(["sample", str(tmp_path / "evil.pt"), "--out", str(tmp_path / "x.png")]) == 2
    assert "no checkpoint is there" in capsys.readouterr().err
    assert not proof.exists()


class Touched:
    """Paths that this process opens or lists, as Python's audit events tell them."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.listening = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.listening and event in ("open", "os.listdir", "os.scandir"):
            self.paths.append(str(arguments[0]))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Path, Touched]:
    root = tmp_path_factory.mktemp("names") / "checkpoints"
    write_checkpoint(root, "tiny", step=1)
    write_checkpoint(root, "tiny", step=2)
    write_checkpoint(root.parent, "secret")  # beside the folder, not in it
    return catalog(root), root, Touched()


NAMES = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}(@[0-9]{1,12})?", fullmatch=True),
    st.sampled_from(
        [
            "../secret@0000001",
            "..@0000001",
            ".@0000001",
            "tiny/../../secret@0000001",
            "tiny/0000001@1",
            "/etc@1",
            "tiny@../../secret/0000001",
            "tiny@0000001/../../../secret/0000001",
            "tiny@\u0661",
            "tiny@1\x00",
            "tiny\x00@1",
            "@",
            "",
        ]
    ),
)


@given(name=NAMES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_name_that_is_asked_for_reaches_no_path(
    served: tuple[Catalog, Path, Touched], name: str
) -> None:
    models, root, touched = served
    touched.paths.clear()
    touched.listening = True
    try:
        found = models.find(name)
    finally:
        touched.listening = False
    own = {str(root), str(root / "tiny")}
    outside = [path for path in touched.paths if not path.startswith(str(root / "tiny"))]
    assert set(outside) <= own
    if isinstance(found, Loading):
        assert found.version.startswith("tiny@")
    elif found is not None:
        assert found.manifest.name == "tiny"


@given(name=st.text(max_size=80).filter(lambda text: text != "tiny"))
@settings(max_examples=100, deadline=None)
def test_a_name_that_is_published_stays_inside_the_folder(
    served: tuple[Catalog, Path, Touched], name: str
) -> None:
    _, root, _ = served
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(CheckpointError):
        publish(root, name, 1)
    assert sorted(root.parent.rglob("*")) == before
