"""Resolving a request against a card: the choices that are made for the client."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.beginnings import Given
from app.exceptions import InvalidField, ModelNotFound
from app.prompts import class_of
from app.resolve import resolve
from wire.record import Record
from wire.schemas import (
    CardDefaults,
    GenerationRequest,
    LearnedOffer,
    ModelCard,
    ResolvedRequest,
)


def card(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "id": "tiny",
        "created": 0,
        "version": "tiny@0000002",
        "versions": ["tiny@0000001", "tiny@0000002"],
        "classes": ["Bag", "Coat"],
        "null_class": True,
        "height": 8,
        "width": 8,
        "channels": 1,
        "timesteps": 200,
        "defaults": CardDefaults(sampler="ddim", steps=10, guidance_scale=2.0),
        "quality": {},
    }
    return ModelCard(**{**fields, **changes})


def resolved(on: ModelCard | None = None, /, **fields: Any) -> ResolvedRequest:
    request = GenerationRequest.model_validate(fields)
    return resolve(request, on or card(), max_work=1000)


def test_the_card_decides_what_the_client_leaves_open() -> None:
    request = resolved()
    assert (request.model, request.steps, request.sampler) == ("tiny@0000002", 10, "ddim")
    assert (request.guidance_scale, request.eta, request.classes) == (2.0, 0.0, [None])


def test_what_is_reported_draws_the_same_again() -> None:
    first = resolved(batch=3, **{"class": ["coat", 0, None]}, eta=0.25, seed=9)
    record = Record(id="x", owner="", request=first, created=0.0, result_ttl=1)
    reported = record.generation(now=0.0).model_dump(mode="json")["request"]
    again = GenerationRequest.model_validate(reported)
    assert resolve(again, card(), max_work=1000) == first


def test_the_guided_share_of_a_run_is_the_card_s_or_the_client_s() -> None:
    defaults = CardDefaults(
        sampler="ddim", steps=10, guidance_scale=2.0, guidance_interval=[0.3, 0.9]
    )
    partial = card(defaults=defaults)
    request = resolved(partial, **{"class": "Bag"})
    assert request.guidance_interval == [0.3, 0.9]
    assert request.evaluations == 16
    assert request.picture(0).text()["guidance_interval"] == "0.3, 0.9"
    whole = resolved(partial, guidance_interval=[0, 1], **{"class": "Bag"})
    assert whole.evaluations == 20
    assert "guidance_interval" not in whole.picture(0).text()
    for interval in ([0.0, 1.0], [0.2, 0.6]):
        offer = LearnedOffer(steps=5, guidance_scale=2.0, guidance_interval=interval)
        learned = card(defaults=defaults, samplers=["ddim", "learned"], learned=[offer])
        asked = resolved(learned, sampler="learned", **{"class": "Bag"})
        assert asked.guidance_interval == interval, "what the table was learned for"
    with pytest.raises(InvalidField, match="ends before it begins"):
        resolved(guidance_interval=[0.9, 0.3])


def test_a_negative_class_takes_the_null_class_s_place() -> None:
    request = resolved(negative_class="coat", **{"class": 0}, guidance_scale=3)
    assert (request.negative_class, request.evaluations) == ("Coat", 20)
    assert request.picture(0).text()["negative_class"] == "Coat"
    assert "negative_class" not in resolved(negative_class=1).picture(0).text(), "drawn of nothing"
    without = card(null_class=False)
    with pytest.raises(InvalidField, match="needs a null class"):
        resolved(without, **{"class": 0}, guidance_scale=3)
    assert resolved(without, **{"class": 0}, guidance_scale=3, negative_class=1).evaluations == 20
    with pytest.raises(InvalidField, match="needs a null class"):
        resolved(without, **{"class": 0}, guidance_scale=0, negative_class=1)
    baked = card(baked_guidance=2.0)
    with pytest.raises(InvalidField, match="hold guidance"):
        resolved(baked, **{"class": 0}, negative_class=1)


def begun(strength: float | None, *, masked: bool = False, **fields: Any) -> ResolvedRequest:
    named = {name.rstrip("_"): value for name, value in fields.items()}
    request = GenerationRequest.model_validate({"strength": strength, **named})
    given = Given("init", "mask" if masked else None, masked)
    return resolve(request, card(), max_work=1000, given=given)


@pytest.mark.parametrize(
    ("strength", "steps", "drawn"),
    [(None, 10, 6), (0, 10, 1), (0.04, 10, 1), (0.55, 20, 11), (0.999, 10, 10), (1, 10, 10)],
)
def test_strength_keeps_the_last_steps_and_at_least_one(
    strength: float | None, steps: int, drawn: int
) -> None:
    request = begun(strength, class_=0, steps=steps)
    assert request.drawn_steps == drawn
    assert request.evaluations == 2 * drawn
    assert Record(id="x", owner="", request=request, created=0.0, result_ttl=1).work == drawn


def test_guidance_s_share_is_of_the_whole_run() -> None:
    request = begun(0.4, class_=0, steps=10, guidance_interval=[0.0, 0.8])
    assert request.evaluations == 2 + 2 + 1 + 1


def test_with_a_mask_all_of_the_run_is_drawn_unless_said_otherwise() -> None:
    assert begun(None, masked=True).strength == 1
    assert begun(0.3, masked=True).strength == 0.3


def test_the_png_s_text_names_what_it_was_begun_from_where_that_matters() -> None:
    assert begun(0.5).picture(0).text()["init_image"] == "sha256:init"
    assert "init_image" not in begun(1).picture(0).text()
    held = begun(1, masked=True).picture(0).text()
    assert (held["init_image"], held["mask"], held["strength"]) == (
        "sha256:init",
        "sha256:mask",
        "1.0",
    )
    varied = resolved(batch=2, seed=1, variation_seed=5, variation_strength=0.5)
    assert varied.picture(1).text()["variation_seed"] == "6"
    assert (
        "variation_seed" not in resolved(variation_seed=5, variation_strength=0).picture(0).text()
    )


def test_what_is_not_drawn_is_not_counted_against_the_limit() -> None:
    assert begun(0.1, steps=200, batch=50).drawn_steps == 20
    with pytest.raises(InvalidField, match="50 images of 100 steps are 5000"):
        begun(0.5, steps=200, batch=50)


@pytest.mark.parametrize(
    "interval", [[0.1], [0.1, 0.2, 0.3], [-0.1, 1], [0, 1.5], "all", [None, 1]]
)
def test_an_interval_is_two_shares(interval: Any) -> None:
    with pytest.raises(ValidationError):
        GenerationRequest.model_validate({"guidance_interval": interval})


def test_chosen_seeds_fit_the_batch_and_differ() -> None:
    seeds = {resolved(batch=64, steps=1).seed for _ in range(50)}
    assert len(seeds) == 50
    assert max(seeds) + 63 < 2**53


def test_versions_are_found_by_number() -> None:
    assert resolved(model="tiny").model == "tiny@0000002"
    assert resolved(model="tiny@1").model == "tiny@0000001"
    with pytest.raises(ModelNotFound, match="tiny@0000001, tiny@0000002"):
        resolved(model="tiny@3")


def test_work_above_the_limit_is_refused() -> None:
    assert resolved(steps=200, batch=5).batch == 5
    with pytest.raises(InvalidField, match="1200 image-steps, above the limit of 1000"):
        resolved(steps=200, batch=6)


def test_a_model_without_a_null_class_needs_a_class_and_no_guidance() -> None:
    strict = card(
        null_class=False, defaults=CardDefaults(sampler="ddim", steps=10, guidance_scale=1.0)
    )
    assert resolved(strict, **{"class": "Bag"}).guidance_scale == 1
    with pytest.raises(InvalidField, match="cannot draw without a class; send one of Bag, Coat"):
        resolved(strict)
    for scale in (0, 2):
        with pytest.raises(InvalidField, match="needs a null class"):
            resolved(strict, guidance_scale=scale, **{"class": "Bag"})


def test_names_that_differ_by_case_alone_are_told_apart() -> None:
    on = card(classes=["A", "a", "B"])
    assert resolved(on, **{"class": "a"}).classes == [1]
    assert resolved(on, **{"class": "A"}).classes == [0]
    assert resolved(on, **{"class": "b"}).classes == [2]
    assert [class_of(prompt, on) for prompt in ("a", " A ", "b")] == ["a", "A", "B"]


def test_digits_can_be_names() -> None:
    digits = card(classes=[str(n) for n in range(10)])
    assert resolved(digits, **{"class": "3"}).classes == [3]
    assert resolved(digits, **{"class": 3}).class_names == ["3"]
