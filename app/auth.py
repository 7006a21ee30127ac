"""Who is asking: an API key as a bearer token, where the server has keys."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Request

from app.exceptions import Unauthorized
from app.settings import AppSettings

NOBODY = ""


async def owner(request: Request) -> str:
    """The caller's name in records, as `app.middleware.keys` found it."""
    found: str = request.state.owner
    return found


def identify(settings: AppSettings, authorization: str | None) -> str:
    """Check an Authorization header in constant time.

    Returns:
        The caller's name in records: the start of its key's digest; "" where no keys are set.

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
