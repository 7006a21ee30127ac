"""What a request's pictures begin with: how much of an init picture, and of other noise.

Pure, as `app.resolve` is: pictures are decoded already, and here no more than digests.
"""

import secrets
from dataclasses import dataclass

from app.exceptions import InvalidField
from wire.schemas import MAX_SEED, GenerationRequest

_CHOSEN_SEEDS = 2**53  # what JavaScript's numbers hold exactly
_STRENGTH = 0.6


@dataclass(frozen=True)
class Given:
    """Digests of the pictures that came with a request, decoded.

    Attributes:
        masked: whether a mask came, be it one that keeps nothing.
    """

    init_image: str | None = None
    mask: str | None = None
    masked: bool = False


@dataclass(frozen=True)
class Beginning:
    """Every choice made; the names are those of `wire.schemas.ResolvedRequest`."""

    init_image: str | None = None
    strength: float = 1.0
    mask: str | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0


def choose_beginning(request: GenerationRequest, given: Given) -> Beginning:
    """The request's choices, and the usual ones.

    Raises:
        InvalidField: a field that is of no use without another.
    """
    strength = 1.0
    if given.init_image is None:
        for field in ("strength", "mask"):
            if getattr(request, field) is not None:
                raise InvalidField(
                    field, "it is about an init picture, and there is none; send init_image, too"
                )
    elif request.strength is not None:
        strength = float(request.strength)
    elif not given.masked:
        strength = _STRENGTH
    seed, share = _variation(request)
    return Beginning(given.init_image, strength, given.mask, seed, share)


def _variation(request: GenerationRequest) -> tuple[int | None, float]:
    seed, share = request.variation_seed, request.variation_strength
    if share is None:
        if seed is not None:
            raise InvalidField(
                "variation_seed",
                "how much of its noise to mix in is not said; send variation_strength, 0 ... 1",
            )
        return None, 0.0
    if seed is None:
        seed = secrets.randbelow(_CHOSEN_SEEDS - request.batch)
    last = seed + request.batch - 1
    if last > MAX_SEED:
        raise InvalidField(
            "variation_seed", f"the last image's, {last}, is above {MAX_SEED}; send a smaller one"
        )
    return seed, float(share)
