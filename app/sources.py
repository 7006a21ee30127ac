"""Where an input picture is: in the request itself, or something of the caller's own here.

Nothing is ever fetched from elsewhere: an address is read, and never called.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi.concurrency import run_in_threadpool

from app.beginnings import Given
from app.decoding import MEDIA_TYPES, BadPicture, Fitted, fit, fit_mask, has_holes, look
from app.exceptions import ImageNotFound, InvalidField, UploadNotFound
from app.state import Service
from wire.schemas import GenerationRequest, ModelCard

_DATA = re.compile(r"data:([^;,]{0,100})(;[^;,]{0,100})*?(;base64)?,", re.IGNORECASE)
_PICTURE = re.compile(r"/v1/generations/([0-9a-f]{32})/(?:images/(\d{1,6})|(init|mask))\.png")
_UPLOAD = re.compile(r"/v1/uploads/([0-9a-f]{32})")


@dataclass(frozen=True)
class Inputs:
    """A request's pictures, as its model takes them."""

    init: Fitted | None = None
    mask: Fitted | None = None
    masked: bool = False

    @property
    def given(self) -> Given:
        """What the request is told of them."""
        init, mask = (None if one is None else one.sha256 for one in (self.init, self.mask))
        return Given(init, mask, self.masked)

    @property
    def files(self) -> dict[str, bytes]:
        """What is kept beside the request."""
        both = {"init": self.init, "mask": self.mask}
        return {name: one.png for name, one in both.items() if one is not None}


@dataclass(frozen=True)
class Sent:
    """Pictures that came with a request, as files, not as addresses.

    Attributes:
        holes: whether transparent places of the picture are a mask, where there is no other.
    """

    init: bytes
    mask: bytes | None = None
    holes: bool = True


async def read_inputs(
    service: Service, owner: str, wanted: GenerationRequest, card: ModelCard, *, host: str
) -> Inputs:
    """The pictures that a request names.

    Args:
        host: what the caller calls this server, for addresses with a host.

    Raises:
        ServiceError: one is not there, or another key's, or cannot be used.
    """
    if wanted.init_image is None:
        return Inputs()
    init = await _fetch(service, owner, "init_image", wanted.init_image, host)
    mask = None
    if wanted.mask is not None:
        mask = await _fetch(service, owner, "mask", wanted.mask, host)
    async with service.decoders:
        return await run_in_threadpool(_decoded, Sent(init, mask), card)


async def decode_sent(service: Service, sent: Sent, card: ModelCard) -> Inputs:
    """The same of files, as OpenAI has them: what is transparent in the mask is drawn anew.

    Without a mask the init picture's own transparency is it, where it has any.
    """
    async with service.decoders:
        return await run_in_threadpool(_decoded, sent, card, name="image", of_alpha=True)


def _decoded(
    sent: Sent, card: ModelCard, *, name: str = "init_image", of_alpha: bool = False
) -> Inputs:
    field = name
    size = {"width": card.width, "height": card.height}
    try:
        facts = look(sent.init)
        init = fit(sent.init, **size, channels=card.channels)
        mask = sent.mask
        if mask is None and of_alpha and sent.holes and has_holes(sent.init):
            mask = sent.init
        if mask is None:
            return Inputs(init)
        field = "mask"
        theirs = look(mask)
        if (theirs.width, theirs.height) != (facts.width, facts.height):
            raise BadPicture(
                f"it is {theirs.width}x{theirs.height}, and the init picture "
                f"{facts.width}x{facts.height}; send one of the same size"
            )
        return Inputs(init, fit_mask(mask, **size, of_alpha=of_alpha), masked=True)
    except BadPicture as error:
        raise InvalidField(field, str(error)) from error


async def _fetch(service: Service, owner: str, field: str, source: str, host: str) -> bytes:
    if source[:5].lower() == "data:":
        return _from_data(field, source)
    try:
        parts = urlsplit(source)
        ours = parts.scheme in ("", "http", "https") and parts.netloc in ("", host)
    except ValueError:
        ours = False
    if not ours or parts.query or parts.fragment:
        raise InvalidField(
            field,
            f"{source[:100]!a} is not on this server, and nothing is fetched from elsewhere; send "
            "the picture itself as a data: URI, or POST it to /v1/uploads",
        )
    if (named := _UPLOAD.fullmatch(parts.path)) is not None:
        upload = await service.uploads.find(named[1], owner)
        if upload is None or (data := await service.uploads.read(upload)) is None:
            raise UploadNotFound(named[1])
        return data
    if (named := _PICTURE.fullmatch(parts.path)) is None:
        raise InvalidField(
            field,
            f"{source[:100]!a} is no picture's address; send one like `images[0].url` of a "
            "generation, or `url` of an upload",
        )
    id_, index, which = named.groups()
    record = await service.store.record(id_, owner)
    found = await service.store.png(record.id, which or int(index))
    if found is None:
        raise ImageNotFound(f"generation {id_} is {record.status.value} and has no {source[-60:]}")
    return found


def _from_data(field: str, source: str) -> bytes:
    head = _DATA.match(source)
    known = ", ".join(MEDIA_TYPES.values())
    if head is None or head[3] is None or head[1].lower() not in MEDIA_TYPES.values():
        raise InvalidField(
            field,
            f"{source[:40]!a} is no data: URI of a picture; send data:<type>;base64,<data> with a "
            f"type of {known}",
        )
    try:
        return base64.b64decode(source[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidField(
            field, f"what follows {source[: head.end()]!a} is no base64 ({error}); encode it again"
        ) from error
