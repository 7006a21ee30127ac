"""Where an input picture is: in the request itself, or something of the caller's own here.

Nothing is ever fetched from elsewhere: an address is read, and never called.
"""

import base64
import binascii
import re
from urllib.parse import urlsplit

from app.beginnings import Given
from app.decoding import MEDIA_TYPES, BadPicture
from app.exceptions import ImageNotFound, InvalidField, UploadNotFound
from app.inputs import BadMask, Inputs, Sent, Shape, fit_inputs
from app.state import Service
from wire import keys
from wire.schemas import GenerationRequest, ModelCard

_DATA = re.compile(r"data:([^;,]{0,100})(;[^;,]{0,100})*?(;base64)?,", re.IGNORECASE)
_PICTURE = re.compile(r"/v1/generations/([0-9a-f]{32})/(?:images/(\d{1,6})|(init|mask))\.png")
_UPLOAD = re.compile(r"/v1/uploads/([0-9a-f]{32})")


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
    return await _fitted(service, Sent(init, mask), card, name="init_image")


def fit_data(wanted: GenerationRequest, card: ModelCard) -> Inputs:
    """The same where there is no service: what can be named is the pictures themselves, as data.

    Raises:
        InvalidField: one is something else, or cannot be used.
    """
    if wanted.init_image is None:
        return Inputs()
    mask = None if wanted.mask is None else _from_data("mask", wanted.mask)
    sent = Sent(_from_data("init_image", wanted.init_image), mask)
    try:
        return fit_inputs(sent, _shape(card))
    except BadPicture as error:
        raise _refusal(error, name="init_image") from error


async def fit_sent(service: Service, sent: Sent, card: ModelCard) -> Inputs:
    """The same of pictures that came as files."""
    return await _fitted(service, sent, card, name="image")


def given(inputs: Inputs) -> Given:
    """What the request is told of its pictures."""
    init, mask = (None if one is None else one.sha256 for one in (inputs.init, inputs.mask))
    return Given(init, mask, inputs.masked)


def kept(inputs: Inputs) -> dict[str, bytes]:
    """The files that lie beside the request, by the names in `wire.keys`."""
    both = {keys.INIT: inputs.init, keys.MASK: inputs.mask}
    return {name: one.png for name, one in both.items() if one is not None}


async def _fitted(service: Service, sent: Sent, card: ModelCard, *, name: str) -> Inputs:
    """Decoded, by what the picture's field is called."""
    try:
        return await service.decoders.fit(sent, _shape(card))
    except BadPicture as error:
        raise _refusal(error, name=name) from error


def _shape(card: ModelCard) -> Shape:
    return Shape(card.width, card.height, card.channels)


def _refusal(error: BadPicture, *, name: str) -> InvalidField:
    return InvalidField("mask" if isinstance(error, BadMask) else name, str(error))


async def _fetch(service: Service, owner: str, field: str, source: str, host: str) -> bytes:
    if source[:5].lower() == "data:":
        return _from_data(field, source)
    public = service.settings.public_url
    if public is not None and source.startswith(f"{public}/"):
        source = source.removeprefix(public)
    try:
        parts = urlsplit(source)
        ours = parts.scheme in ("", "http", "https")
        ours = ours and parts.netloc.lower() in ("", host.lower())
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
