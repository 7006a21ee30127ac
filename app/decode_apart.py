"""Decodes pictures in a process of its own: `app.decoders` runs `python -m app.decode_apart`.

In come a line of JSON and the files behind it; out goes JSON. Nothing else is imported than what
decodes, so that it starts quickly.
"""

import base64
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from app.decoding import BadPicture, Fitted, check
from app.inputs import BadMask, Inputs, Sent, Shape, fit_inputs

_NICE = 10  # answers to others go first, where processors are few


def question(sent: Sent, shape: Shape | None) -> bytes:
    """What the process reads: to fit pictures to a shape, or without one to check the first."""
    words = {
        "lengths": [len(sent.init), None if sent.mask is None else len(sent.mask)],
        "of_alpha": sent.of_alpha,
        "holes": sent.holes,
        "shape": None if shape is None else asdict(shape),
    }
    return b"\n".join([json.dumps(words).encode(), sent.init + (sent.mask or b"")])


def answer(question: bytes) -> bytes:
    """What the process writes."""
    words, _, files = question.partition(b"\n")
    asked = json.loads(words)
    length, of_mask = asked["lengths"]
    sent = Sent(
        files[:length],
        None if of_mask is None else files[length:],
        of_alpha=asked["of_alpha"],
        holes=asked["holes"],
    )
    try:
        if asked["shape"] is None:
            check(sent.init)
            return _written(Inputs())
        return _written(fit_inputs(sent, Shape(**asked["shape"])))
    except BadPicture as error:
        return json.dumps({"mask": isinstance(error, BadMask), "bad": str(error)}).encode()


def understood(answer: bytes) -> Inputs:
    """The answer as a value.

    Raises:
        BadPicture: that is what it says; BadMask: of the mask.
    """
    words = json.loads(answer)
    if "bad" in words:
        raise (BadMask if words["mask"] else BadPicture)(words["bad"])
    return Inputs(_fitted(words["init"]), _fitted(words["mask"]), masked=words["masked"])


def _written(inputs: Inputs) -> bytes:
    both = {
        name: one and {"png": base64.b64encode(one.png).decode(), "sha256": one.sha256}
        for name, one in (("init", inputs.init), ("mask", inputs.mask))
    }
    return json.dumps({**both, "masked": inputs.masked}).encode()


def _fitted(words: dict[str, Any] | None) -> Fitted | None:
    return None if words is None else Fitted(base64.b64decode(words["png"]), words["sha256"])


if __name__ == "__main__":
    os.nice(_NICE)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
