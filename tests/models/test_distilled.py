"""Distilled abilities: their tables, what is refused, and the way through JSON and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import CheckpointError, Manifest
from models.checkpoint import read_manifest
from models.distilled import BakedGuidance, Consistency, Distilled, LearnedTable
from models.manifest import Defaults
from models.sampler import SAMPLERS, START_HALF_LOG_SNR, build_table
from models.schedule import Schedule
from tests.support import write_checkpoint

COSINE = Schedule("cosine", 1000)
CONSISTENCY = Consistency(levels=((), (2.0,), (3.0, 0.7), (6.0, 2.0, 0.7)))


def learned_from(steps: int, guidance_scale: float = 1.5) -> LearnedTable:
    """The plain solver's own rows, as if they had been learned."""
    plain = build_table(COSINE, prediction="v", sampler="dpmpp_2m", steps=steps)
    t, a, b, c = (tuple(map(float, column)) for column in (plain.t, plain.a, plain.b, plain.c))
    return LearnedTable(guidance_scale=guidance_scale, t=t, a=a, b=b, c=c)


def test_a_consistency_table_noises_anew_between_its_evaluations() -> None:
    table = CONSISTENCY.table(COSINE, "v", 3)
    levels = table.sigma / table.alpha
    np.testing.assert_allclose(levels[1:], [3.0, 0.7])
    np.testing.assert_allclose(np.log(levels[0]), -START_HALF_LOG_SNR)
    np.testing.assert_allclose(table.alpha**2 + table.sigma**2, 1)
    assert table.a.tolist() == table.c.tolist() == [0, 0, 0]
    assert table.b.tolist() == [table.alpha[1], table.alpha[2], 1]
    assert table.d.tolist() == [table.sigma[1], table.sigma[2], 0]


def test_one_consistency_step_is_the_first_estimate() -> None:
    table = CONSISTENCY.table(COSINE, "v", 1)
    row = (table.steps, table.a[0], table.b[0], table.c[0], table.d[0])
    assert row == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("name", ["linear", "cosine", "exponential", "sigmoid"])
@pytest.mark.parametrize("timesteps", [50, 200, 1000])
def test_consistency_points_lie_within_every_schedule(name: str, timesteps: int) -> None:
    table = CONSISTENCY.table(Schedule(name, timesteps), "v", 4)
    assert (np.diff(table.t) < 0).all()
    assert 0 <= table.t.min() <= table.t.max() <= timesteps - 1


def test_fractional_timesteps_and_log_snr_are_each_others_inverse() -> None:
    t = np.array([0.0, 3.25, 500.5, 999.0])
    np.testing.assert_allclose(COSINE.timestep_at(COSINE.half_log_snr_at(t)), t, atol=1e-9)


def test_rows_of_the_plain_solver_stored_as_learned_are_the_plain_solver() -> None:
    plain = build_table(COSINE, prediction="v", sampler="dpmpp_2m", steps=6)
    table = learned_from(6).table(COSINE, "v")
    for name in ("t", "alpha", "sigma", "p", "q", "a", "b", "c", "d"):
        np.testing.assert_allclose(getattr(table, name), getattr(plain, name), atol=1e-12)


@pytest.mark.parametrize(
    ("distilled", "defaults"),
    [
        (Distilled(tables=(learned_from(6), learned_from(5))), Defaults(guidance_scale=1.5)),
        (
            Distilled(tables=(replace(learned_from(6), guidance_interval=(0.4, 0.85)),)),
            Defaults(guidance_scale=1.5),
        ),
        (Distilled(guidance=BakedGuidance(scale=1.5, interval=(0.3, 0.9))), Defaults()),
        (
            Distilled(guidance=BakedGuidance(scale=1.5), consistency=CONSISTENCY),
            Defaults(sampler="consistency", steps=2),
        ),
    ],
)
def test_the_manifest_carries_it_through_json(
    tmp_path: Path, distilled: Distilled, defaults: Defaults
) -> None:
    plain = read_manifest(write_checkpoint(tmp_path))
    manifest = replace(plain, distilled=distilled, defaults=defaults)
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_a_manifest_from_before_distillation_still_loads(tmp_path: Path) -> None:
    data = read_manifest(write_checkpoint(tmp_path)).to_json()
    del data["distilled"]
    assert Manifest.from_json(data).distilled.samplers == SAMPLERS


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"tables": [{"steps": 6}]}, "distilled.tables has an unknown field 'steps'"),
        ({"guidance": {"scale": "1.5"}}, "distilled.guidance.scale = '1.5' is not int or float"),
        ({"guidance": {"scale": 1.5, "interval": [0.9, 0.3]}}, "does not rise in 0 ... 1"),
        ({"consistency": {"levels": [[], [2.0, 1.0]]}}, "for 2 steps are not 1 falling numbers"),
        ({"consistency": {"levels": [[], [2.0], [1.0, 1.0]]}}, "are not 2 falling numbers"),
        ({"consistency": {"levels": [[1], [2]]}}, "for 1 steps are not 0 falling numbers"),
        ({"consistency": {"levels": [[], ["x"]]}}, "distilled.consistency.levels = 'x' is not"),
        ({"guidance": {"scale": 2.0}}, "defaults: guidance 1.5: the weights hold guidance of 2"),
        ({"consistency": {"levels": [[]]}}, "defaults: sampler dpmpp_2m is not among .* consist"),
        ([], "distilled is not a table of fields"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    tmp_path: Path, part: Any, message: str
) -> None:
    data = read_manifest(write_checkpoint(tmp_path)).to_json()
    data["distilled"] = part
    with pytest.raises(CheckpointError, match=message):
        Manifest.from_json(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": (0.5, 0.5, 1.0)}, "as many a, b and c as t"),
        ({"t": (3.0, 5.0)}, "do not fall"),
        ({"a": (0.5, 0.5)}, "ends with the row 0, 1, 0"),
        ({"c": (0.5, 0.0)}, "begins with c = 0"),
        ({"guidance_interval": (0.9, 0.3)}, "is no .from, to. with 0 <= from <= to"),
    ],
)
def test_a_learned_table_obeys_the_laws_of_tables(change: dict[str, Any], message: str) -> None:
    table = LearnedTable(guidance_scale=1.5, t=(900.0, 300.0), a=(0.5, 0), b=(0.5, 1), c=(0, 0))
    with pytest.raises(ValueError, match=message):
        replace(table, **change)


def test_what_a_network_was_not_distilled_for_is_refused_naming_what_it_takes(
    tmp_path: Path,
) -> None:
    plain = read_manifest(write_checkpoint(tmp_path))
    with pytest.raises(ValueError, match="sampler learned is not among .*: ddpm, ddim"):
        plain.build_table("learned", 6, guidance_scale=1.5)
    learned = replace(plain, distilled=Distilled(tables=(learned_from(6),)))
    assert learned.build_table("learned", 6, guidance_scale=1.5).steps == 6
    assert learned.build_table("dpmpp_2m", 20, guidance_scale=3).steps == 20
    with pytest.raises(ValueError, match="7 steps at guidance 1.5: .* takes 6 at guidance 1.5"):
        learned.build_table("learned", 7, guidance_scale=1.5)
    fast = replace(
        plain,
        distilled=Distilled(guidance=BakedGuidance(scale=1.5), consistency=CONSISTENCY),
        defaults=Defaults(sampler="consistency", steps=2),
    )
    assert fast.build_table("consistency", 4).steps == 4
    for arguments, message in (
        (("consistency", 5, 1.0), "consistency takes 1 to 4"),
        (("consistency", 2, 1.5), "take no other; use 1"),
        (("dpmpp_2m", 2, 1.0), "made for: consistency"),
    ):
        sampler, steps, scale = arguments
        with pytest.raises(ValueError, match=message):
            fast.build_table(sampler, steps, guidance_scale=scale)  # type: ignore[arg-type]
