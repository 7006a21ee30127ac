"""A request's pictures together: what it begins from, and the mask that goes with it.

Pure and blocking, as `app.decoding` is, and as light: `app.decode_apart` starts with it.
"""

from dataclasses import dataclass

from app.decoding import BadPicture, Fitted, fit, fit_mask, has_holes, look


@dataclass(frozen=True)
class Sent:
    """Files as they came.

    Attributes:
        of_alpha: as OpenAI has it: only what is transparent in the mask is drawn anew.
        holes: whether transparent places of the picture are a mask, where there is no other.
    """

    init: bytes
    mask: bytes | None = None
    of_alpha: bool = False
    holes: bool = False


@dataclass(frozen=True)
class Shape:
    """Of a model's pictures."""

    width: int
    height: int
    channels: int


@dataclass(frozen=True)
class Inputs:
    """The same as the model takes them.

    Attributes:
        masked: whether a mask came, be it one that keeps nothing.
    """

    init: Fitted | None = None
    mask: Fitted | None = None
    masked: bool = False


class BadMask(BadPicture):
    """It is the mask that cannot be used."""


def fit_inputs(sent: Sent, shape: Shape) -> Inputs:
    """Decode both.

    Raises:
        BadPicture: one cannot be used; BadMask: it is the mask.
    """
    init = fit(sent.init, width=shape.width, height=shape.height, channels=shape.channels)
    mask = sent.mask
    if mask is None and sent.holes and has_holes(sent.init):
        mask = sent.init
    if mask is None:
        return Inputs(init)
    try:
        facts, theirs = look(sent.init), look(mask)
        if (theirs.width, theirs.height) != (facts.width, facts.height):
            raise BadPicture(
                f"it is {theirs.width}x{theirs.height}, and the init picture "
                f"{facts.width}x{facts.height}; send one of the same size"
            )
        fitted = fit_mask(mask, width=shape.width, height=shape.height, of_alpha=sent.of_alpha)
    except BadPicture as error:
        raise BadMask(str(error)) from error
    return Inputs(init, fitted, masked=True)
