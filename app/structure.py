"""How much a JSON text holds, told from its bytes before anything parses them. Pure.

A parser turns two bytes into a Python object of fifty, and a validator each of those into an error.
So the values are counted first: strings are cut out (they may be long; their bytes are cheap), and
what is left is commas and brackets. Where a text is no JSON, the count is right up to the place at
which a parser stops. Every step runs over the bytes at C speed, without a regular expression.
"""

import codecs

MOST_VALUES = 1000  # a request for 64 pictures with a class and two prompts each has some 300
MOST_LEVELS = 16
_BRACKETS = b"[]{}"
_NEITHER = bytes(set(range(256)) - set(_BRACKETS))
# What `json.loads` would read as UTF-16 or UTF-32, in which the bytes of a quote mean other things.
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TooComplex(ValueError):
    """The text is refused; the message says what to do."""


def check(text: bytes) -> None:
    """Let a JSON text pass that is quick to parse.

    Raises:
        TooComplex: it has too many values, or too many levels, or is not UTF-8.
    """
    if text.startswith(_WIDE) or b"\0" in text[:4]:
        raise TooComplex("the body is not UTF-8; send one JSON object in UTF-8")
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"")  # then every quote begins or ends
    if bare.count(b'"') > 2 * MOST_VALUES:
        raise _too_many(bare.count(b'"') // 2)
    structure = b"".join(bare.split(b'"')[::2])
    brackets = structure.translate(None, _NEITHER)
    values = structure.count(b",") + len(brackets)
    if values > MOST_VALUES:
        raise _too_many(values)
    level = 0
    for bracket in brackets:
        level += 1 if bracket in b"[{" else -1
        if level > MOST_LEVELS:
            raise TooComplex(
                f"the body is nested deeper than {MOST_LEVELS} levels; send one flat JSON object"
            )


def _too_many(values: int) -> TooComplex:
    return TooComplex(
        f"the body holds {values} values or more, above the most, {MOST_VALUES}; send one JSON "
        "object with fewer fields and shorter lists"
    )
