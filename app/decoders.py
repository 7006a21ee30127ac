"""Decodes one request's pictures at a time, where that delays nobody else.

Small ones in a thread, large ones in a process of their own: Pillow's decoders of WebP and JPEG
hold the interpreter's lock for some 30 ms of the largest pictures, and what they take of memory is
not the API's then.
"""

import asyncio
import sys

from app.decode_apart import question, understood
from app.decoding import BadPicture, Facts, check, look
from app.inputs import BadMask, Inputs, Sent, Shape, fit_inputs

_SMALL = 1_000_000  # pixels: some three milliseconds
_SECONDS = 30.0


class Decoders:
    """One per API process."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def check(self, data: bytes) -> Facts:
        """What a picture is that can be decoded to its end.

        Raises:
            BadPicture: it cannot be used.
        """
        async with self._turn:
            facts = await asyncio.to_thread(look, data)
            if _large(facts):
                await _apart(Sent(data), None)
                return facts
            return await asyncio.to_thread(check, data)

    async def fit(self, sent: Sent, shape: Shape) -> Inputs:
        """A request's pictures as a model takes them.

        Raises:
            BadPicture: one cannot be used; BadMask: it is the mask.
        """
        async with self._turn:
            if any(map(_large, await asyncio.to_thread(_facts, sent))):
                return await _apart(sent, shape)
            return await asyncio.to_thread(fit_inputs, sent, shape)


def _large(facts: Facts) -> bool:
    return facts.width * facts.height > _SMALL


def _facts(sent: Sent) -> list[Facts]:
    facts = [look(sent.init)]
    if sent.mask is not None:
        try:
            facts.append(look(sent.mask))
        except BadPicture as error:
            raise BadMask(str(error)) from error
    return facts


async def _apart(sent: Sent, shape: Shape | None) -> Inputs:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.decode_apart"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            answer, _ = await process.communicate(question(sent, shape))
    except TimeoutError as error:
        raise BadPicture(f"it was not decoded within {_SECONDS:g} s; send a smaller one") from error
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise BadPicture("there was no memory to decode it; send a smaller one")
    return understood(answer)
