"""What class a prompt names, for clients that know prompts only. Pure."""

from app import naming
from app.exceptions import InvalidField
from wire.schemas import ModelCard

_MOST_HITS = 100  # a text with more names than that is none that names one


def class_of(prompt: str, card: ModelCard) -> str | None:
    """The class that a prompt is, or that it mentions ("a photo of sneakers").

    None for a model without classes, which ignores the prompt, and for an empty prompt where the
    model can draw without a class.

    Raises:
        InvalidField: the prompt names no class, or several.
    """
    text = prompt.strip()
    if not card.classes or (not text and card.null_class):
        return None
    exact = naming.find(text, card.classes)
    if exact is not None:
        return card.classes[exact]
    # Its letters first: a pattern for each of many classes takes long to compile.
    hits = [name for name in card.classes if naming.may_mention(text, name)]
    found = [name for name in hits[:_MOST_HITS] if naming.mentions(text, name)]
    # "Ankle boot" is meant where "boot" is a class, too.
    meant = [
        name
        for name in found
        if not any(name != other and naming.mentions(other, name) for other in found)
    ]
    if len(meant) == 1:
        return meant[0]
    shown = ", ".join(card.classes[:20]) + (", ..." if len(card.classes) > 20 else "")
    what = f"names {', '.join(meant)}; name one" if meant else f"names none of {shown}"
    raise InvalidField("prompt", f"{prompt[:60]!r} {what}; {card.id} draws classes, not free text")
