"""Standard Webhooks' secrets and signatures (standardwebhooks.com, version 1).

`webhook-signature` is `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; for each secret
one, so that receivers can go over to a new one in their own time.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64
WANTED = (
    f"is not {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64; make one with: "
    f'echo "{_PREFIX}$(openssl rand -base64 32)"'
)


def secret_bytes(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        ValueError: it is none; the message does not show it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"the secret {WANTED}")
    return key


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Comma-separated secrets; empty: none.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(secret_bytes(part.strip()) for part in text.split(",") if part.strip())


def headers(message: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """What goes with a message that is sent at ``timestamp`` (Unix seconds)."""
    signed = b".".join((message.encode(), str(timestamp).encode(), body))
    signatures = [
        base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    ]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
