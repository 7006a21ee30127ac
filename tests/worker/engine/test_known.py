"""Rows that begin from a picture, are held to one, or mix two seeds, among rows that do not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cores import Cores
from models.guidance import WHOLE
from models.sample import draw, to_uint8
from models.sampler import SAMPLERS, Sampler
from models.start import Known
from models.unet import UNet
from tests.support import tiny_config
from tests.worker.engine.fake import SHAPE, alone, fake_weights, pictures, run, work
from tests.worker.engine.test_engine import WORKS
from tests.worker.engine.test_latents import latent_weights
from worker.engine.engine import Engine
from worker.engine.precision import Plan, plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights
from worker.engine.work import Event, ImageDone, Paste, Preview, Work

EVERYWHERE = torch.ones(1, *SHAPE[1:], dtype=torch.bool)


def picture(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Sixteen grey levels and more, as the network sees them."""
    return torch.linspace(-1, 1, int(np.prod(shape))).view(shape)


def left_half(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    kept = torch.zeros(1, *shape[1:], dtype=torch.bool)
    kept[..., : shape[2] // 2] = True
    return kept


def from_picture(one: Work, rows: int, kept: torch.Tensor | None = None, **changes: Any) -> Work:
    """The same, with its last rows only, from a picture."""
    skipped = one.table.steps - rows
    known = Known(picture(one.weights.shape), kept, begins=rows < one.table.steps)
    return replace(one, table=one.table.last(rows), known=known, skipped=skipped, **changes)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("guidance_scale", "interval"), [(1.0, WHOLE), (2.5, WHOLE), (2.5, (0.3, 0.9))]
)
@pytest.mark.parametrize("held", [False, True])
def test_engine_draws_what_the_plain_loop_draws(
    sampler: Sampler, guidance_scale: float, interval: tuple[float, float], *, held: bool
) -> None:
    torch.manual_seed(1)
    unet = UNet(tiny_config()).eval()
    weights = Weights("tiny@1", unet, (1, 8, 8), Condition.of_classes(3))
    one = work(
        "w",
        weights,
        seeds=(5, 6),
        labels=(0, 2),
        sampler=sampler,
        steps=6,
        guidance_scale=guidance_scale,
        guidance_interval=interval,
        negative=torch.tensor(1),
        variation=((8, 9), 0.25),
    )
    one = from_picture(one, 4, left_half((1, 8, 8)) if held else None)
    expected = draw(
        unet,
        one.table,
        seeds=torch.tensor(one.seeds),
        labels=torch.tensor([0, 2]),
        null=torch.tensor(1),
        guidance_scale=guidance_scale,
        guidance_interval=interval,
        variation=(torch.tensor([8, 9]), 0.25),
        known=one.known,
        skipped=2,
    )
    drawn = alone(one)
    for index, levels in enumerate(to_uint8(expected).permute(0, 2, 3, 1)):
        difference = levels.int() - torch.tensor(drawn["w", index])
        assert difference.abs().max() <= 1


STARTS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    strength=st.sampled_from([None, 0.0, 0.4, 1.0]),
    kept=st.sampled_from([None, left_half(), EVERYWHERE]),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    negative=st.sampled_from([None, 1]),
)


def described(
    id_: str, weights: Weights, description: dict[str, Any], start: dict[str, Any]
) -> Work:
    fields = {k: v for k, v in description.items() if k not in ("joins_at", "label")}
    labels = (description["label"],) * len(fields["seeds"])
    if start["negative"] is not None:
        fields["negative"] = torch.tensor(start["negative"])
    if start["share"] is not None:
        others = tuple(range(len(labels)))
        fields["variation"] = (others, start["share"])
    one = work(id_, weights, labels=labels, **fields)
    if start["strength"] is None:
        return one
    rows = max(1, round(start["strength"] * one.table.steps))
    return from_picture(one, rows, start["kept"])


@given(
    crowd=st.lists(st.tuples(WORKS, STARTS), min_size=2, max_size=7),
    chosen=st.sampled_from([Plan((4,)), Plan((1, 2, 8)), Plan((8,), graphs=True)]),
)
@settings(max_examples=30, deadline=None)
def test_a_picture_does_not_depend_on_its_neighbours(
    crowd: list[tuple[dict[str, Any], dict[str, Any]]], chosen: Plan
) -> None:
    engine, weights = Engine(chosen), fake_weights()
    works = [described(f"w{i}", weights, *one) for i, one in enumerate(crowd)]
    events: list[Event] = []
    for one in works:
        engine.add(one)
        events += engine.step()
    together = pictures(events + run(engine))
    for one in works:
        for key, expected in alone(one).items():
            assert together[key] == expected


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_kept_places_stay_in_pictures_previews_and_strips(*, graphs: bool) -> None:
    one = work("w", fake_weights(), steps=6, strip=3, preview_every=1, sampler="ddpm")
    engine = Engine(Plan((8,), graphs=graphs))
    engine.add(from_picture(one, 4, left_half()))
    events = run(engine)
    expected = to_uint8(picture()).permute(1, 2, 0).numpy()[:, :2]
    (done,) = [event for event in events if isinstance(event, ImageDone)]
    assert (done.pixels[:, :2] == expected).all()
    assert (done.frames[-1] == done.pixels).all()
    previews = [event for event in events if isinstance(event, Preview)]
    assert len(previews) == 3
    assert all((event.pixels[:, :2] == expected).all() for event in previews)


def test_a_part_of_a_run_costs_its_part() -> None:
    one = work("w", fake_weights(), steps=10, guidance_scale=2.0, guidance_interval=(0.0, 0.8))
    part = from_picture(one, 4)
    assert (one.evaluations, part.evaluations) == (18, 6)
    assert (one.places, part.places) == (2, 2)
    engine = Engine(Plan((1, 2)))
    engine.add(part)
    engine.step()
    assert engine.evaluations("w") == 2
    run(engine)
    assert engine.steps == 4


def test_with_no_part_of_the_picture_left_it_is_drawn_as_without() -> None:
    plain = work("w", fake_weights(), seeds=(3, 4), labels=(0, 1))
    assert alone(from_picture(plain, 5)) == alone(plain)
    nothing_kept = torch.zeros_like(EVERYWHERE)
    assert alone(from_picture(plain, 5, nothing_kept)) == alone(plain)


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_kept_places_of_latents_are_pasted_after_decoding(*, graphs: bool) -> None:
    size = (2 * SHAPE[1], 2 * SHAPE[2])
    kept = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    share = np.zeros((*size, 1), np.float32)
    share[:, :3] = 1
    share[:, 3] = 0.5
    plain = from_picture(work("w", latent_weights(), strip=2), 3, left_half())
    engine = Engine(Plan((8,), graphs=graphs))
    engine.add(replace(plain, paste=Paste(kept, share)))
    (done,) = [event for event in run(engine) if isinstance(event, ImageDone)]
    without = np.array(alone(plain)["w", 0])
    assert (done.pixels[:, :3] == kept[:, :3]).all()
    assert (done.pixels[:, 4:] == without[:, 4:]).all()
    between = (kept[:, 3].astype(float) + without[:, 3]) / 2
    assert (abs(done.pixels[:, 3] - between) <= 0.5).all()
    assert (done.frames[-1] == done.pixels).all()


@pytest.mark.gpu
def test_cuda_graphs_hold_the_same_bits_whoever_shares_the_step() -> None:
    torch.manual_seed(1)
    device = torch.device("cuda")
    unet = UNet(tiny_config()).eval().to(device, torch.bfloat16)
    chosen = plan("exact", device=device, cores=1)
    weights = Weights("tiny@1", unet, (1, 8, 8), Condition.of_classes(3), torch.bfloat16, device)
    weights = probe(weights, chosen, Cores(1))
    x_0, kept = picture((1, 8, 8)).to(device), left_half((1, 8, 8)).to(device)

    def held(id_: str) -> Work:
        one = work(id_, weights, seeds=(5, 2**62), labels=(0, None), sampler="ddpm", steps=9)
        one = replace(one, table=one.table.last(6), skipped=3, variation=((8, 9), 0.25))
        return replace(one, known=Known(x_0, kept))

    engine = Engine(chosen)
    engine.add(held("held"))
    expected = pictures(run(engine))
    levels = to_uint8(picture((1, 8, 8))).permute(1, 2, 0).numpy()[:, :4]
    assert all((np.array(pixels)[:, :4] == levels).all() for pixels in expected.values())
    for i in range(4):
        engine.add(work(f"w{i}", weights, seeds=(i,), steps=3 + i, sampler=SAMPLERS[i % 4]))
        if i == 2:
            engine.add(held("held"))
        engine.step()
    together = pictures(run(engine))
    assert all(together[key] == expected[key] for key in expected)
