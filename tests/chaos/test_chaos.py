"""The short form of `make chaos`: every harm once, under load."""

from pathlib import Path

import pytest

from tests.chaos.harness import run_chaos


@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_or_changed_whatever_dies(tmp_path: Path) -> None:
    accounts = run_chaos(tmp_path, seconds=0, sleep=5, seed=1)
    print(accounts)
    assert len(accounts.actions) == 5
    assert accounts.submitted > 20
    assert accounts.lost == []
    assert accounts.failed == []
    assert accounts.duplicated == []
    assert accounts.differing == []
    assert accounts.succeeded == accounts.submitted
