"""From what a client asked to what will be drawn: every choice made, every limit checked.

Pure: the card and the limits come in, a `ResolvedRequest` or a typed error goes out.
"""

import difflib
import secrets
from dataclasses import asdict

from app import naming
from app.abilities import choose_drawing
from app.beginnings import Given, choose_beginning
from app.exceptions import InvalidField, ModelNotFound
from wire.picture import last_steps
from wire.schemas import (
    MAX_SEED,
    ClassRef,
    GenerationRequest,
    ModelCard,
    ResolvedRequest,
)
from wire.webhook import WebhookView

_COUNTERPARTS = {
    "class": "prompt",
    "prompt": "class",
    "negative_class": "negative_prompt",
    "negative_prompt": "negative_class",
}
_CHOSEN_SEEDS = 2**53  # what JavaScript's numbers hold exactly


def split_version(wanted: str) -> tuple[str, int | None]:
    """``name`` or ``name@step`` as its parts."""
    name, _, step = wanted.partition("@")
    return name, int(step) if step else None


def resolve(
    request: GenerationRequest,
    card: ModelCard,
    *,
    max_work: int,
    given: Given | None = None,
) -> ResolvedRequest:
    """Make every choice that the client left open.

    Args:
        given: the pictures that came with it, if any did.

    Raises:
        ModelNotFound: the model has no such version.
        InvalidField: a value that this model or server cannot draw.
    """
    drawing = choose_drawing(request, card)
    steps, sampler = drawing.steps, drawing.sampler
    if steps > card.timesteps:
        raise InvalidField(
            "steps",
            f"{steps} is above this model's T, {card.timesteps}; send {card.timesteps} or less",
        )
    beginning = choose_beginning(request, given or Given())
    drawn_steps = last_steps(steps, beginning.strength)
    work = drawn_steps * request.batch
    if work > max_work:
        raise InvalidField(
            "steps",
            f"{request.batch} images of {drawn_steps} steps are {work} image-steps, above the "
            f"limit of {max_work}; ask for fewer steps or images",
        )
    if request.seed is None:
        seed = secrets.randbelow(_CHOSEN_SEEDS - request.batch)
    else:
        seed = request.seed
    last = seed + request.batch - 1
    if last > MAX_SEED:
        raise InvalidField(
            "seed", f"the last image's, {last}, is above {MAX_SEED}; send a smaller seed"
        )
    if request.eta and sampler != "ddim":
        raise InvalidField(
            "eta", f"{request.eta} is of use to the sampler ddim only, not {sampler}; leave it out"
        )
    classes, prompts = _classes(request, card), _prompts(request, card)
    negative = _negative(request, card)
    _require_guidable(request, card)
    return ResolvedRequest(
        model=_version(request, card),
        seed=seed,
        steps=steps,
        batch=request.batch,
        classes=classes,
        class_names=[None if index is None else card.classes[index] for index in classes],
        prompts=prompts,
        negative_class=negative,
        negative_prompt=request.negative_prompt,
        guidance_scale=drawing.guidance_scale,
        guidance_interval=drawing.guidance_interval,
        sampler=sampler,
        eta=request.eta or 0.0,
        **asdict(beginning),
        scale=request.scale,
        preview_every=request.preview_every,
        strip=request.strip,
        priority=request.priority,
        webhook=None
        if request.webhook is None
        else WebhookView(url=request.webhook.url, events=request.webhook.events),
    )


def _version(request: GenerationRequest, card: ModelCard) -> str:
    if request.model is None:
        return card.version
    name, step = split_version(request.model)
    if step is None:
        return card.version
    for version in card.versions:
        if split_version(version) == (name, step):
            return version
    raise ModelNotFound(request.model, card.versions)


def _prompts(request: GenerationRequest, card: ModelCard) -> list[str | None]:
    if card.conditioning != "text":
        for field in ("prompt", "negative_prompt"):
            if getattr(request, field) is not None:
                instead = _instead(field, request, card)
                raise InvalidField(field, f"{card.id} does not draw from words; {instead}")
        return []
    if not isinstance(request.prompt, list):
        return [request.prompt] * request.batch
    if len(request.prompt) != request.batch:
        raise InvalidField(
            "prompt",
            f"the list has {len(request.prompt)} entries for a batch of {request.batch}; give one "
            "per image",
        )
    return list(request.prompt)


def _classes(request: GenerationRequest, card: ModelCard) -> list[int | None]:
    wanted = request.class_
    if isinstance(wanted, list):
        if len(wanted) != request.batch:
            raise InvalidField(
                "class",
                f"the list has {len(wanted)} entries for a batch of {request.batch}; give one per "
                "image",
            )
        return [_class_or_none(entry, request, card) for entry in wanted]
    return [_class_or_none(wanted, request, card)] * request.batch


def _class_or_none(wanted: ClassRef, request: GenerationRequest, card: ModelCard) -> int | None:
    if wanted is None and not card.null_class:
        raise InvalidField(
            "class", f"{card.id} cannot draw without a class; send one of {_some(card.classes)}"
        )
    return None if wanted is None else _class(wanted, request, card)


def _negative(request: GenerationRequest, card: ModelCard) -> str | None:
    """The class that guidance leads away from, by name."""
    if request.negative_class is None:
        return None
    if card.baked_guidance is not None:
        raise InvalidField(
            "negative_class",
            f"the weights of {card.id} hold guidance, which leads away from nothing else; leave it "
            "out",
        )
    return card.classes[_class(request.negative_class, request, card, field="negative_class")]


def _class(
    wanted: str | int, request: GenerationRequest, card: ModelCard, *, field: str = "class"
) -> int:
    if not card.classes:
        instead = _instead(field, request, card)
        raise InvalidField(field, f"{card.id} has no classes; {instead}")
    if isinstance(wanted, int):
        if not 0 <= wanted < len(card.classes):
            last = len(card.classes) - 1
            raise InvalidField(field, f"index {wanted} is not in 0 ... {last}; send one that is")
        return wanted
    meant = naming.find(wanted, card.classes)
    if meant is not None:
        return meant
    names = [name.casefold() for name in card.classes]
    close = difflib.get_close_matches(wanted.casefold(), names, n=3, cutoff=0.5)
    suggestions = [card.classes[names.index(name)] for name in close]
    hint = f"did you mean {' or '.join(suggestions)}?" if suggestions else "it has"
    raise InvalidField(
        field,
        f"{wanted[:60]!r} is not a class of {card.id}; {hint} "
        f"{'All: ' if suggestions else ''}{_some(card.classes)}",
    )


def _instead(field: str, request: GenerationRequest, card: ModelCard) -> str:
    """What to do about a field that the model does not take: send the one that it does, or not."""
    other = _COUNTERPARTS[field]
    sent = request.class_ if other == "class" else getattr(request, other)
    takes = card.conditioning == "text" or card.classes
    return f"send {other}" if takes and sent is None else "leave it out"


def _require_guidable(request: GenerationRequest, card: ModelCard) -> None:
    asked = request.guidance_scale
    if asked and request.negative_class is not None:  # that is what it leads away from
        return
    if asked not in (None, 1) and card.classes and not card.null_class:
        raise InvalidField(
            "guidance_scale", f"{asked} needs a null class, which {card.id} lacks; send 1"
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
