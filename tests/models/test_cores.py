"""Threads that together have every core each keep one of their own."""

import os
import time

import pytest

from models.cores import Cores

if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
    pytest.skip("needs Linux and two cores", allow_module_level=True)

CPUS = sorted(os.sched_getaffinity(0))


def kept(_item: int) -> list[int]:
    time.sleep(0.1)  # so that no thread takes two
    return sorted(os.sched_getaffinity(0))


def test_each_thread_has_a_core_of_its_own_and_the_caller_all() -> None:
    cores = Cores(len(CPUS))
    assert sorted(cores.map(kept, range(len(CPUS)))) == [[cpu] for cpu in CPUS]
    assert sorted(os.sched_getaffinity(0)) == CPUS
    cores.close()


def test_where_threads_and_cores_are_not_as_many_nothing_is_kept() -> None:
    cores = Cores(2 * len(CPUS))
    assert list(cores.map(kept, range(2))) == [CPUS, CPUS]
    cores.close()
