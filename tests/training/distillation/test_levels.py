"""A consistency model's levels: the search descends, and what it finds stands in the manifest."""

import math
from pathlib import Path

import pytest

from models import load_model
from tests.training.data import write_idx
from tests.training.distillation.support import latent_teacher, student_run, teacher
from training.__main__ import main
from training.distillation.levels import Levels, descend


def test_the_search_ends_where_no_level_can_be_moved() -> None:
    asked: list[Levels] = []

    def distance(levels: Levels) -> float:
        asked.append(levels)
        return sum(
            (math.log(a) - math.log(b)) ** 2 for a, b in zip(levels, (5.0, 0.3), strict=True)
        )

    best = descend(distance, (2.0, 0.7))
    assert best[0] == pytest.approx(5.0, rel=0.2)
    assert best[1] == pytest.approx(0.3, rel=0.2)
    assert len(asked) == len(set(asked)) < 20  # none is drawn twice


def test_levels_that_do_not_fall_are_never_drawn() -> None:
    def distance(levels: Levels) -> float:
        assert levels[0] > levels[1]
        return abs(math.log(levels[0])) + abs(math.log(levels[1]))

    assert descend(distance, (3.0, 2.0))[0] < 3.0


def test_what_was_found_stands_in_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchmetrics")
    run = student_run(tmp_path, "consistency", "distill.levels=[[], [2.0]]")
    run.run(until=4)
    write_idx(tmp_path / "more", train=200, test=120)
    given = ["--data", str(tmp_path / "more"), "--images", "100"]
    assert main(["distill", "levels", str(run.folder), *given]) == 0
    said = capsys.readouterr().out
    consistency = load_model(run.folder).manifest.distilled.consistency
    assert consistency is not None
    assert f"2 steps: {list(consistency.levels[1])}, noted in" in said
    distances = {
        line.split("levels ")[1].split(": ")[0]: float(line.split(": ")[1])
        for line in said.splitlines()
        if "levels [" in line
    }
    assert distances[str(list(consistency.levels[1]))] == min(distances.values())
    assert main(["distill", "levels", str(teacher(tmp_path)), *given]) == 2
    assert "is no consistency model" in capsys.readouterr().err


def test_a_model_of_latents_is_judged_by_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_idx(tmp_path / "data", train=200, test=120)
    given, few = ["--data", str(tmp_path / "data")], str(tmp_path / "models" / "few")
    line = ["distill", "consistency", str(latent_teacher(tmp_path)), *given, "--steps", "1"]
    line += ["--name", "few", "--out", str(tmp_path / "models")]
    assert main([*line, "--set=distill.levels=[[], [2.0]]", "--set=train.batch_size=8"]) == 0
    search = ["distill", "levels", few, *given]
    assert main(search) == 0
    assert ", noted in" in capsys.readouterr().out
    assert main([*search, "--extractor", "eyes"]) == 2
    assert "'eyes' is not one of classifier, efficientnet" in capsys.readouterr().err
