"""Runs that begin in the middle, are held to a picture, or begin with two seeds' noise."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.distilled import Consistency, LearnedTable
from models.noise import normal
from models.sample import draw, to_uint8
from models.sampler import SAMPLERS, Sampler, Table, build_table
from models.schedule import Schedule
from models.start import Known, mix
from models.unet import UNet
from tests.support import tiny_config

SHAPE = (1, 8, 8)


def noise(seed: int, *, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return normal(torch.tensor([seed]), torch.tensor([0]), shape)[0]


def table(sampler: Sampler, steps: int = 8) -> Table:
    return build_table(Schedule("cosine", 1000), prediction="v", sampler=sampler, steps=steps)


def network() -> UNet:
    torch.manual_seed(3)
    return UNet(tiny_config()).eval()


def levels() -> torch.Tensor:
    """A picture of 64 different grey levels, as the network sees it."""
    return torch.arange(64).view(SHAPE) * 4 / 127.5 - 1


def test_a_mix_of_noise_is_noise_and_its_ends_are_the_two_to_the_bit() -> None:
    one, other = (noise(seed, shape=(3, 64, 64)) for seed in (1, 2))
    assert torch.equal(mix(one, other, 0.0), one)
    assert torch.equal(mix(one, other, 1.0), other)
    for share in (0.1, 0.5, 0.9):
        mixed = mix(one, other, share)
        assert mixed.std() == pytest.approx(1, abs=0.02)
        # As far along the arc as was asked for.
        cosine = torch.nn.functional.cosine_similarity(one.flatten(), mixed.flatten(), dim=0)
        assert math.acos(cosine) == pytest.approx(share * math.pi / 2, abs=0.03)


def test_a_seed_mixed_with_itself_is_itself() -> None:
    assert torch.equal(mix(noise(7), noise(7), 0.3), noise(7))


@pytest.mark.parametrize("sampler", SAMPLERS)
@given(steps=st.integers(1, 12), data=st.data())
def test_the_last_rows_of_a_table_end_as_it_does_and_start_with_no_estimate_before(
    sampler: Sampler, steps: int, data: st.DataObject
) -> None:
    whole = table(sampler, steps)
    rows = data.draw(st.integers(1, steps))
    part = whole.last(rows)
    assert part.steps == rows
    assert part.c[0] == 0
    for name in ("t", "alpha", "sigma", "p", "q", "a", "d"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[-rows:])
    # Each row still leads from its own point to the next one's (samplers.md, the row update).
    arrives = part.a[:-1] * part.alpha[:-1] + part.b[:-1] + part.c[:-1]
    assert arrives == pytest.approx(part.alpha[1:], abs=1e-12)


@pytest.mark.parametrize("rows", [0, 9, -1])
def test_a_table_has_no_more_rows_than_it_has(rows: int) -> None:
    with pytest.raises(ValueError, match="table of 8"):
        table("ddim").last(rows)


@pytest.mark.parametrize("rows", [1, 5, 19])
def test_a_run_begins_with_its_picture_as_noisy_as_its_first_row_has_it(rows: int) -> None:
    part, seen = table("ddim", 20).last(rows), []
    draw(
        network(),
        part,
        seeds=torch.tensor([4]),
        known=Known(levels()),
        on_step=lambda _k, x, _estimate: seen.append(x[0]),
    )
    expected = float(part.alpha[0]) * levels() + float(part.sigma[0]) * noise(4)
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("begins", [True, False])
def test_kept_places_are_the_picture_s_to_the_grey_level(sampler: Sampler, *, begins: bool) -> None:
    kept = torch.zeros(1, 8, 8, dtype=torch.bool)
    kept[:, :, :5] = True
    x_0, seen = levels(), []
    drawn = draw(
        network(),
        table(sampler).last(5),
        seeds=torch.tensor([4, 5]),
        labels=torch.tensor([0, 1]),
        guidance_scale=2.0,
        known=Known(x_0, kept, begins=begins),
        skipped=3,
        on_step=lambda _k, x, estimate: seen.append((x, estimate)),
    )
    for picture in drawn:
        assert torch.equal(to_uint8(picture)[kept], to_uint8(x_0)[kept])
        assert not torch.equal(to_uint8(picture)[~kept], to_uint8(x_0)[~kept])
    part = table(sampler).last(5)
    for k, (x, estimate) in enumerate(seen):
        expected = float(part.alpha[k]) * x_0 + float(part.sigma[k]) * noise(4)
        torch.testing.assert_close(x[0][kept], expected[kept])
        assert torch.equal(estimate[0][kept], x_0[kept])


def test_a_picture_that_is_neither_begun_from_nor_kept_changes_nothing() -> None:
    seeds = torch.tensor([4])
    plain = draw(network(), table("ddpm"), seeds=seeds)
    assert torch.equal(
        plain, draw(network(), table("ddpm"), seeds=seeds, known=Known(levels(), begins=False))
    )


def test_guidance_counts_the_whole_run_s_rows() -> None:
    """Its share of the run means how noisy a picture is, wherever the run begins."""
    evaluated: list[int] = []

    class Counting(UNet):
        def forward(self, *arguments: object, **named: object) -> torch.Tensor:
            evaluated.append(len(arguments[0]))  # type: ignore[arg-type]
            return super().forward(*arguments, **named)  # type: ignore[arg-type]

    draw(
        Counting(tiny_config()).eval(),
        table("ddim", 10).last(4),
        seeds=torch.tensor([4]),
        labels=torch.tensor([0]),
        guidance_scale=2.0,
        guidance_interval=(0.0, 0.8),
        known=Known(levels()),
        skipped=6,
    )
    assert evaluated == [2, 2, 1, 1]


def test_distilled_tables_can_begin_late_too() -> None:
    schedule = Schedule("cosine", 1000)
    consistency = Consistency(levels=((), (1.0,), (4.0, 1.0), (9.0, 3.0, 1.0)))
    jumps = consistency.table(schedule, "v", 4).last(2)
    assert jumps.steps == 2
    assert jumps.b[0] == jumps.alpha[1]
    assert jumps.d[0] == jumps.sigma[1]
    learned = LearnedTable(
        guidance_scale=1.5,
        t=(900.0, 500.0, 100.0),
        a=(0.6, 0.5, 0),
        b=(0.3, 0.7, 1),
        c=(0, -0.2, 0),
    )
    late = learned.table(schedule, "v").last(2)
    assert (late.a[0], late.b[0], late.c[0]) == (0.5, pytest.approx(0.5), 0)
    drawn = draw(network(), jumps, seeds=torch.tensor([1]), known=Known(levels()), skipped=2)
    assert torch.isfinite(drawn).all()
