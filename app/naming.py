"""Which class a spelling means: without case, plural or hyphen. Pure.

Whoever writes a name as it stands is never misunderstood: only what is no name is looked at more
loosely, and only one class may be meant.
"""

import re
from collections.abc import Sequence

_BETWEEN = re.compile(r"[\s_-]+")


def find(wanted: str, names: Sequence[str]) -> int | None:
    """The place of the name that is meant; None: none is, or several are."""
    if wanted in names:  # first: names may differ by case alone
        return names.index(wanted)
    folded = wanted.strip().casefold()
    for place, name in enumerate(names):
        if name.casefold() == folded:
            return place
    found = [place for place, name in enumerate(names) if _alike(_bare(name), _bare(folded))]
    return found[0] if len(found) == 1 else None


def may_mention(text: str, name: str) -> bool:
    """Whether `mentions` may say yes: quick, for there may be thousands of names."""
    return _stem(_bare(name)) in _bare(text)


def mentions(text: str, name: str) -> bool:
    """Whether the name stands in the text, as words of their own."""
    *first, last = _BETWEEN.split(name.casefold().strip())
    words = [*map(re.escape, first), re.escape(_stem(last)) + _ending(last)]
    pattern = r"[\s_-]*".join(words)
    return re.search(rf"(?<!\w){pattern}(?!\w)", text.casefold()) is not None


def _bare(name: str) -> str:
    return _BETWEEN.sub("", name.casefold())


def _alike(one: str, other: str) -> bool:
    return one in _plurals(other) or other in _plurals(one)


def _plurals(name: str) -> tuple[str, ...]:
    """Itself, and what may be its plural."""
    return name, f"{name}s", f"{name}es", f"{name.removesuffix('y')}ies"


def _stem(word: str) -> str:
    """What its singular and its plural begin with."""
    for ending in ("ies", "y"):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            return word.removesuffix(ending)
    return word[:-1] if len(word) > 2 and word.endswith("s") else word


def _ending(word: str) -> str:
    """How it may end after its stem, as a pattern."""
    return "(?:y|ies)" if word.endswith(("y", "ies")) and _stem(word) != word else "(?:s|es|ses)?"
