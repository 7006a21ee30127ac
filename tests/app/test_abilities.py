"""A model draws what it was distilled for, and says so when asked for something else."""

from typing import Any

import pytest

from app.exceptions import InvalidField
from tests.app.test_resolve import card, resolved
from wire.schemas import CardDefaults, LearnedOffer, ModelCard

LEARNED = card(
    samplers=["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "learned"],
    learned=[
        LearnedOffer(steps=5, guidance_scale=1.5),
        LearnedOffer(steps=6, guidance_scale=1.5),
        LearnedOffer(steps=6, guidance_scale=2.0),
    ],
)
CONSISTENCY = card(
    samplers=["consistency"],
    consistency_steps=4,
    baked_guidance=1.5,
    defaults=CardDefaults(sampler="consistency", steps=2, guidance_scale=1.0),
)


def drawn(on: ModelCard, **fields: Any) -> tuple[str, int, float]:
    request = resolved(on, **fields)
    return request.sampler, request.steps, request.guidance_scale


def test_the_sampler_learned_brings_its_own_steps_and_guidance() -> None:
    assert drawn(LEARNED) == ("ddim", 10, 2.0)
    assert drawn(LEARNED, sampler="learned") == ("learned", 6, 2.0)  # nearest to the defaults
    assert drawn(LEARNED, sampler="learned", steps=5) == ("learned", 5, 1.5)
    assert drawn(LEARNED, sampler="learned", guidance_scale=1.5) == ("learned", 6, 1.5)


def test_a_consistency_model_draws_in_one_to_four_steps() -> None:
    assert drawn(CONSISTENCY) == ("consistency", 2, 1.0)
    assert drawn(CONSISTENCY, steps=4, guidance_scale=1) == ("consistency", 4, 1.0)


@pytest.mark.parametrize(
    ("on", "fields", "message"),
    [
        (card(), {"sampler": "learned"}, "sampler: learned cannot be had from tiny; send one of d"),
        (card(), {"sampler": "consistency"}, "consistency cannot be had from tiny"),
        (CONSISTENCY, {"sampler": "ddim"}, "ddim cannot be had from tiny; send one of consistency"),
        (CONSISTENCY, {"steps": 5}, "steps: 5 is above 4, .* send 1 to 4"),
        (CONSISTENCY, {"guidance_scale": 2}, "hold guidance of 1.5; leave it out, or send 1"),
        (CONSISTENCY, {"guidance_scale": 0}, "0 cannot be had: the weights"),
        (LEARNED, {"sampler": "learned", "steps": 7}, "steps: 7 .* 5 steps at guidance 1.5 or 6"),
        (LEARNED, {"sampler": "learned", "guidance_scale": 3}, "guidance_scale: 3 is not what"),
        (LEARNED, {"sampler": "learned", "steps": 5, "guidance_scale": 2.0}, "guidance_scale: 2"),
    ],
)
def test_what_it_was_not_distilled_for_is_refused_naming_what_it_takes(
    on: ModelCard, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidField, match=message):
        resolved(on, **fields)
