"""Which workers are started: one per GPU, as many as asked, each with its device or its cores."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serve.workers import WorkersError, environments
from tests.support import eventually


def gpus(folder: Path, count: int) -> Path:
    """A /dev with so many GPUs, and what else NVIDIA puts there."""
    for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{i}" for i in range(count))):
        (folder / name).touch()
    return folder


def test_one_worker_per_gpu(tmp_path: Path) -> None:
    found = environments({"EMAKI_DATA": "x"}, devices=gpus(tmp_path, 3))
    assert [its["EMAKI_DEVICE"] for its in found] == ["cuda:0", "cuda:1", "cuda:2"]
    assert all(its["EMAKI_DATA"] == "x" for its in found)


def test_without_a_gpu_it_is_one_with_all_cores(tmp_path: Path) -> None:
    assert environments({}, devices=gpus(tmp_path, 0)) == [{}]


def test_visible_devices_and_a_chosen_device_are_heeded(tmp_path: Path) -> None:
    devices = gpus(tmp_path, 4)
    assert len(environments({"CUDA_VISIBLE_DEVICES": "2,3"}, devices=devices)) == 2
    assert len(environments({"CUDA_VISIBLE_DEVICES": ""}, devices=devices)) == 1
    assert environments({"EMAKI_DEVICE": "cpu"}, devices=devices) == [{"EMAKI_DEVICE": "cpu"}]


def test_as_many_as_asked_share_gpus_or_cores(tmp_path: Path) -> None:
    devices = gpus(tmp_path, 2)
    asked = environments({"EMAKI_WORKERS": "3"}, devices=devices)
    assert [its["EMAKI_DEVICE"] for its in asked] == ["cuda:0", "cuda:1", "cuda:0"]
    cores = len(os.sched_getaffinity(0))
    shared = environments({"EMAKI_WORKERS": "2", "EMAKI_DEVICE": "cpu"}, devices=devices)
    assert [its["EMAKI_THREADS"] for its in shared] == [str(max(1, cores // 2))] * 2


@pytest.mark.parametrize("wanted", ["0", "-1", "many", "65", "1.5"])
def test_another_number_is_refused_by_name(wanted: str) -> None:
    with pytest.raises(WorkersError, match=f"EMAKI_WORKERS='{wanted}' is no number of workers"):
        environments({"EMAKI_WORKERS": wanted})


def test_they_start_and_stop_together(tmp_path: Path) -> None:
    environment = {**os.environ, "EMAKI_WORKERS": "2", "EMAKI_DATA": str(tmp_path)}
    environment.pop("EMAKI_REDIS_URL", None)
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.workers"], env=environment, stderr=output
        )
    try:
        log = tmp_path / "log"
        eventually(lambda: log.read_text().count(" cpu, ") == 2, what="two workers")
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
