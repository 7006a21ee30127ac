"""Models whose rows are latents: their pictures are decoded apart from the steps."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import eventually
from tests.worker.engine.fake import SHAPE, alone, fake_weights, pictures, run, work
from worker.engine.engine import Engine
from worker.engine.precision import Plan
from worker.engine.weights import Weights
from worker.engine.work import Event, ImageDone, Preview, WorkDone, WorkFailed


def decode(latents: Tensor) -> Tensor:
    """Twice as large, three channels."""
    return latents.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


def latent_weights(version: str = "latent@1", **changes: Any) -> Weights:
    return replace(fake_weights(version), **{"decode": decode, "preview": torch.neg, **changes})


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_pictures_are_decoded_and_previews_are_guessed(*, graphs: bool) -> None:
    plain, weights = fake_weights(), latent_weights()
    engine = Engine(Plan((8,), graphs=graphs))
    fields: dict[str, Any] = {"seeds": (1, 2), "labels": (0, 1), "strip": 3, "preview_every": 2}
    engine.add(work("pixels", plain, **fields))
    engine.add(work("latents", weights, **fields))
    events = run(engine)
    drawn = {(e.id, e.index): e for e in events if isinstance(e, ImageDone)}
    for index in (0, 1):
        rows, picture = drawn["pixels", index], drawn["latents", index]
        assert picture.pixels.shape == (2 * SHAPE[1], 2 * SHAPE[2], 3)
        assert (picture.pixels[::2, ::2, :1] == rows.pixels).all()
        assert len(picture.frames) == len(rows.frames) == 3
        assert picture.frames[-1] is not None
        assert (picture.frames[-1] == picture.pixels).all()
    seen = {(e.id, e.index, e.step): e.pixels for e in events if isinstance(e, Preview)}
    for (id_, index, step), pixels in seen.items():
        if id_ == "pixels":  # -x is its grey level from the other end
            total = pixels.astype(int) + seen["latents", index, step]
            assert abs(total - 255).max() <= 1


def test_a_slow_decoder_holds_no_other_model_up() -> None:
    may = threading.Event()

    def slow(latents: Tensor) -> Tensor:
        assert may.wait(60)
        return decode(latents)

    engine = Engine(Plan((8,)))
    engine.add(work("slow", latent_weights(decode=slow), steps=2))
    engine.add(work("other", fake_weights(), steps=9))
    events: list[Event] = []

    def other_is_done() -> bool:
        events.extend(engine.step())
        return WorkDone("other") in events

    eventually(other_is_done, what="the other model")
    assert not any(isinstance(event, ImageDone) and event.id == "slow" for event in events)
    assert engine.row_steps("slow") == 0, "all of its steps are made"
    assert not engine.idle, "its picture is still to be told"
    may.set()
    assert ("slow", 0) in pictures(run(engine))


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_a_picture_that_cannot_be_decoded_fails_its_own_request(*, graphs: bool) -> None:
    broken = alone(work("w", fake_weights(), seeds=(13,)))["w", 0]

    def choosy(latents: Tensor) -> Tensor:
        whole = decode(latents)
        levels = ((whole[0, 0, ::2, ::2, None].clamp(-1, 1) + 1) * 127.5).round().int().tolist()
        if levels == broken:
            raise RuntimeError("no memory for this one")
        return whole

    weights = latent_weights(decode=choosy)
    good = work("good", weights, seeds=(1, 2), labels=(0, 1), steps=7)  # two are still to be made
    engine = Engine(Plan((8,), graphs=graphs))
    engine.add(work("bad", weights, seeds=(13, 14), labels=(0, 0)))
    engine.add(good)
    events = run(engine)
    (failed,) = [event for event in events if isinstance(event, WorkFailed)]
    assert (failed.id, str(failed.error)) == ("bad", "no memory for this one")
    drawn = pictures(events)
    assert {key: drawn[key] for key in drawn if key[0] == "good"} == alone(good)
