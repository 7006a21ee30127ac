"""What a model was distilled for: the sampler, steps and guidance of a request, or a clear no.

Pure, as `app.resolve` is. A model that nothing was distilled into takes every solver at any steps.
"""

from dataclasses import dataclass

from app.exceptions import InvalidField
from wire.schemas import CardDefaults, GenerationRequest, LearnedOffer, ModelCard, Sampler


@dataclass(frozen=True)
class Drawing:
    """How to draw."""

    sampler: Sampler
    steps: int
    guidance_scale: float
    guidance_interval: list[float]


def choose_drawing(request: GenerationRequest, card: ModelCard) -> Drawing:
    """The request's choices, the rest from the card.

    Raises:
        InvalidField: the model was not distilled for it.
    """
    sampler = request.sampler or card.defaults.sampler
    if sampler not in card.samplers:
        raise InvalidField(
            "sampler",
            f"{sampler} cannot be had from {card.id}; send one of {', '.join(card.samplers)}",
        )
    steps = card.defaults.steps if request.steps is None else request.steps
    guidance = request.guidance_scale
    if card.baked_guidance is not None and guidance not in (None, 1):
        raise InvalidField(
            "guidance_scale",
            f"{guidance:g} cannot be had: the weights of {card.id} hold guidance of "
            f"{card.baked_guidance:g}; leave it out, or send 1",
        )
    if sampler == "consistency" and steps > card.consistency_steps:
        raise InvalidField(
            "steps",
            f"{steps} is above {card.consistency_steps}, the most that the sampler consistency "
            f"takes with {card.id}; send 1 to {card.consistency_steps}",
        )
    if sampler == "learned":
        offer = _learned(request, card)
        return Drawing(sampler, offer.steps, offer.guidance_scale, _interval(request, offer))
    scale = card.defaults.guidance_scale if guidance is None else float(guidance)
    return Drawing(sampler, steps, scale, _interval(request, card.defaults))


def _interval(request: GenerationRequest, of: LearnedOffer | CardDefaults) -> list[float]:
    interval = request.guidance_interval
    if interval is None:
        return list(of.guidance_interval)
    if interval[0] > interval[1]:
        raise InvalidField(
            "guidance_interval",
            f"{interval} ends before it begins; send [from, to] with from at most to",
        )
    return [float(share) for share in interval]


def _learned(request: GenerationRequest, card: ModelCard) -> LearnedOffer:
    """The learned table that fits what was asked; the nearest to the card's defaults of several."""
    known = " or ".join(
        f"{offer.steps} steps at guidance {offer.guidance_scale:g}" for offer in card.learned
    )
    fitting = card.learned
    for field in ("steps", "guidance_scale"):
        wanted = getattr(request, field)
        if wanted is not None:
            fitting = [offer for offer in fitting if getattr(offer, field) == wanted]
        if not fitting:
            raise InvalidField(
                field,
                f"{wanted:g} is not what the sampler learned takes with {card.id}: {known}; send "
                "these, or another sampler",
            )
    defaults = card.defaults
    return min(
        fitting,
        key=lambda offer: (
            abs(offer.steps - defaults.steps),
            abs(offer.guidance_scale - defaults.guidance_scale),
        ),
    )
