"""Freed memory is used again without the kernel clearing it a second time."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys, threading, torch
from models.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()

def step():  # 100 MiB, 25,600 pages
    return [torch.ones(2**18) for _ in range(100)]

def run():
    step()
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=run)  # where a core's share is computed
thread.start()
thread.join()
"""


def faults(how: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_s_memory_is_not_cleared_again_for_the_next() -> None:
    assert faults("kept") < 1000 < faults("default")
