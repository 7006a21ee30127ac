"""Who is asking: an API key as a bearer token, where the server has keys."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Header

from app.exceptions import Unauthorized
from app.settings import AppSettings
from app.state import ServiceDep

NOBODY = ""


async def owner(
    service: ServiceDep,
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> str:
    """The caller's name in records: the start of its key's digest; "" where no keys are set."""
    return identify(service.settings, authorization)


def identify(settings: AppSettings, authorization: str | None) -> str:
    """Check an Authorization header in constant time.

    Raises:
        Unauthorized: keys are set, and this is none of them.
    """
    accepted = settings.key_hashes
    if not accepted:
        return NOBODY
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("an API key is needed; send the header `Authorization: Bearer <key>`")
    # Starlette decodes headers as latin-1: this gives back the bytes that were sent.
    digest = hashlib.sha256(token.strip().encode("latin-1")).digest()
    matches = [hmac.compare_digest(digest, known) for known in accepted]
    if not any(matches):
        raise Unauthorized("this API key is not known; check the header `Authorization`")
    return digest.hex()[:16]


Owner = Annotated[str, Depends(owner)]
