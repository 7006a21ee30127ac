"""The short form of `make chaos`: every harm once, under load, and a network that draws."""

from pathlib import Path

import pytest

from tests.chaos.harness import run_chaos
from tests.chaos.trace import DRAWN


@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_or_changed_whatever_dies(tmp_path: Path) -> None:
    accounts = run_chaos(tmp_path, worker="worker", trace=DRAWN, requests=50, sleep=5, seed=1)
    print(accounts)
    assert set(accounts.harms) == {
        "kill worker",
        "stop worker",
        "put worker to sleep",
        "kill api",
        "kill deliverer",
        "kill redis",
        "restart redis",
        "redis away",
    }
    assert accounts.accepted >= 50
    assert list(accounts.complaints()) == []
    assert accounts.succeeded == accounts.accepted
    assert accounts.different_pictures > 50
    assert accounts.looked_up >= 50
