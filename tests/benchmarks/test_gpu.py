"""`make gpu-bench` at tiny scale, without a GPU: the same code, plain calls in place of graphs."""

import pytest

from benchmarks import gpu


def test_its_table_and_its_check_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--tiny", "--seconds", "0", "--sizes", "1", "4"])
    printed = capsys.readouterr().out
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| c")]
    assert [(row[0], row[1]) for row in rows] == [
        ("| cifar10-32", "1"),
        ("| cifar10-32", "4"),
        ("| cars-64", "1"),
        ("| cars-64", "4"),
    ]
    assert all(float(row[2]) > 0 for row in rows)
    assert printed.count("bit-identical in company: yes") == 3
    assert printed.count("the device computes") == 3
