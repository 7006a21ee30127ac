"""Whom to tell of a generation: what a client sends, what it is shown, and the receiver's name."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

HookEvent = Literal["done", "image", "started"]
_PORTS = {"http": 80, "https": 443}


class WebhookView(BaseModel):
    """A webhook as the API reports it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(max_length=2000, description="https; never an address within the network.")
    events: list[HookEvent] = Field(
        ["done"], min_length=1, max_length=3, description="What is told, in order."
    )


class Webhook(WebhookView):
    """A webhook as a client sends it; see standardwebhooks.com for the signatures."""

    secret: str | None = Field(
        None,
        max_length=100,
        description="`whsec_` and 24 to 64 bytes in base64; never shown. Default: the server's.",
    )


def receiver(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme}://{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def queue(url: str, owner: str) -> str:
    """Where messages wait: each owner's for a receiver apart, so that nobody keeps up another's."""
    return f"{receiver(url)} {owner}".rstrip()
