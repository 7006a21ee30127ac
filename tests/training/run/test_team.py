"""Splitting a batch over micro-batches and processes changes nothing but rounding."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.checkpoint import RESUME, steps_of
from models.cores import Cores
from models.manifest import step_name
from tests.support import eventually, free_port
from tests.training.run.test_loop import trainer
from training.errors import TrainingError
from training.run.team import Team, micro_batches


def weights(folder: Path) -> dict[str, Tensor]:
    state = load_file(folder / RESUME)
    # Softmax does not see a key's bias: its gradient is rounding alone, which Adam scales up.
    return {
        k: v for k, v in state.items() if k.startswith(("network", "ema")) and "to_k.b" not in k
    }


def same_but_for_rounding(ours: Path, theirs: Path) -> None:
    """Each tensor; of its elements one in a thousand may be up to 1e-4 apart.

    Adam's first step is a whole rate long wherever a gradient points, so a weight whose gradient
    is zero but for rounding may go another way. A fault in how shares are added moves all weights.
    """
    mine, others = weights(ours), weights(theirs)
    assert mine.keys() == others.keys()
    for name, value in mine.items():
        differ = ~torch.isclose(value, others[name], rtol=1e-4, atol=2e-5)
        assert differ.float().mean() <= 1e-3, name
        torch.testing.assert_close(value, others[name], rtol=0, atol=1e-4, msg=name)


def start(
    folder: Path, *arguments: str, rank: int, size: int, port: int
) -> subprocess.Popen[bytes]:
    """One member, as torchrun starts it."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-m", "training", "train", "shapes.toml", "--data", "data"]
    with (folder / f"said-{rank}").open("w") as output:
        return subprocess.Popen(
            [*command, *arguments], cwd=folder, env=environment, stdout=output, stderr=output
        )


def test_micro_batches_take_the_same_steps_as_one_big_batch(tmp_path: Path) -> None:
    for out, split in (("whole", 1), ("parts", 4)):
        run = trainer(tmp_path, out, f"train.accumulate={split}")
        run.run(until=4)
        run.close()
    whole, parts = (tmp_path / out / "shapes" / step_name(4) for out in ("whole", "parts"))
    same_but_for_rounding(whole, parts)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_shared_out_to_cores_takes_the_same_steps(tmp_path: Path, accumulate: int) -> None:
    for out, threads in (("one", 1), ("two", 2), ("two-again", 2)):
        torch.set_num_threads(threads)
        try:
            settings = ("network.dropout=0.2", f"train.accumulate={accumulate}")
            run = trainer(tmp_path, out, *settings)
            run.run(until=4)
            run.close()
        finally:
            torch.set_num_threads(1)
    one, two, again = (
        tmp_path / out / "shapes" / step_name(4) for out in ("one", "two", "two-again")
    )
    same_but_for_rounding(one, two)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(two).items())


# The C++ of Inductor, PyTorch's default, takes a minute of compiling, all of it theirs: with the
# tests of a GPU's machine. The network is captured, decomposed and differentiated by either.
INDUCTOR = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler"),
]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=INDUCTOR)])
def test_compiled_training_takes_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    compiled: list[str] = []

    def compile_by_backend(network: nn.Module) -> Callable[..., Any]:
        compiled.append(backend)
        return _compile(network, backend=backend)

    _compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_by_backend)
    for out, compiles in (("plain", "false"), ("compiled", "true")):
        settings = ("network.dropout=0.0", "train.bf16=false", f"train.compile={compiles}")
        run = trainer(tmp_path, out, *settings)
        run.run(until=4)
        run.close()
    assert compiled == [backend]
    plain, other = (tmp_path / out / "shapes" / step_name(4) for out in ("plain", "compiled"))
    same_but_for_rounding(plain, other)


def test_cores_take_rows_that_differ_by_one_at_most() -> None:
    cores = Cores(2)
    assert cores.split(slice(10, 23)) == [slice(10, 16), slice(16, 23)]
    assert cores.split(slice(0, 7)) == [slice(0, 7)]  # too few for two: all threads on one
    ran = list(
        cores.map(lambda rows: (rows.start, torch.get_num_threads()), cores.split(slice(0, 8)))
    )
    assert ran == [(0, 1), (4, 1)]
    cores.close()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote by step 4, and what they said after one was asked to stop."""
    folder = tmp_path_factory.mktemp("team")
    alone = trainer(folder, "alone", "train.steps=12000")
    alone.run(until=4)
    alone.close()
    arguments = ["--out", "team", "--set", "train.steps=12000", "--set", "train.save_every=4"]
    arguments += ["--set", "publish.keep=99999", "--set", "train.report_every=12000"]
    port = free_port()
    members = [start(folder, *arguments, rank=rank, size=2, port=port) for rank in range(2)]
    try:
        eventually(lambda: steps_of(folder / "team/shapes"), seconds=60, what="a checkpoint")
        members[1].send_signal(signal.SIGTERM)
        assert [member.wait(timeout=60) for member in members] == [0, 0], said(folder, 0)
    finally:
        for member in members:
            member.kill()
            member.wait()
    return folder


def said(folder: Path, rank: int) -> str:
    return (folder / f"said-{rank}").read_text()


def test_two_processes_take_the_same_steps_as_one(team: Path) -> None:
    name = step_name(4)
    same_but_for_rounding(team / "alone/shapes" / name, team / "team/shapes" / name)


def test_when_one_process_is_asked_to_stop_all_stop_at_the_same_step(team: Path) -> None:
    assert "2 processes" in said(team, 0)
    reached = steps_of(team / "team/shapes")[-1]
    assert f"stopped at step {reached}; go on with --resume" in said(team, 0)
    assert 4 <= reached < 12000


def test_only_the_first_process_talks(team: Path) -> None:
    assert said(team, 1) == ""


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    assert micro_batches(12, 2, Team(rank=1, size=2)) == [slice(6, 9), slice(9, 12)]
    with pytest.raises(TrainingError, match="train.batch_size = 16 is not divisible by"):
        trainer(tmp_path, "out", "train.accumulate=3")
