"""How many bytes a request's results may take, before they are drawn. Pure."""

import json

from wire.schemas import ModelCard, ResolvedRequest

_PNG = 400  # signature, header, text
_RECORD = 6_000  # the record, and events without previews
_COPIES = 5  # of prompts: the record, its two events that have them, a kept answer, the strip
_MOST_PREVIEWS = 256
_BASE64 = 4 / 3


def expected_bytes(request: ResolvedRequest, card: ModelCard) -> int:
    """An upper estimate of what a request's pictures, strip and events take in Redis.

    Noise does not compress, so a picture takes as many bytes as it has values. Enlarged by s, a
    row of it is s times as long but made of runs, and its s - 1 repetitions are copies.
    """
    values = card.height * card.width * card.channels
    picture = _enlarged(values, request.scale) + _PNG
    total = request.batch * (picture + _PNG) + _RECORD + _words(request)
    if request.strip:
        total += _enlarged(request.batch * request.strip * values, request.scale)
    if request.preview_every:
        shown = request.batch * request.drawn_steps // request.preview_every
        total += int(min(shown, _MOST_PREVIEWS) * (values + _PNG) * _BASE64)
    return total


def _words(request: ResolvedRequest) -> int:
    """What prompts take, each of them in its own picture, too."""
    own = sum(_written(text) for text in request.prompts if text)
    negative = _written(request.negative_prompt) if request.negative_prompt else 0
    return _COPIES * (own + negative) + own + request.batch * negative


def _written(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


def _enlarged(values: int, scale: int) -> int:
    return values if scale == 1 else values * 3 + values * scale * (scale - 1) // 60
