"""One try of one message: a signed POST that follows nothing and reads only the answer's status."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpcore

from app.webhooks.signing import headers, secret_bytes
from wire.life import Delivery

_MOST_BYTES = 64 * 1024
_KEPT = ("id", "status", "model", "urls", "created_at", "started_at", "finished_at", "error")
_GONE = 410


@dataclass(frozen=True)
class Tried:
    """What came of a try: arrived, or why not; final: it will never arrive."""

    why: str = ""
    final: bool = False


def body_of(delivery: Delivery) -> bytes:
    """The message: type, time, and the generation (or its image); without long words if need be."""
    data: dict[str, Any] = json.loads(delivery.data)
    if delivery.event == "image":
        data = {"id": delivery.generation, "image": data}
    message = {
        "type": f"generation.{delivery.event}",
        "timestamp": datetime.fromtimestamp(delivery.at, UTC).isoformat(),
        "data": data,
    }
    body = json.dumps(message).encode()
    if len(body) > _MOST_BYTES:  # many prompts: whoever wants them asks for the generation
        message["data"] = {name: data[name] for name in _KEPT if name in data}
        body = json.dumps(message).encode()
    return body


class Sender:
    """Connections to receivers.

    Args:
        secrets: sign what has no secret of its own.
        seconds: of one try, from the name to the answer's status.
    """

    def __init__(
        self, backend: httpcore.AsyncNetworkBackend, secrets: Sequence[bytes], *, seconds: float
    ) -> None:
        self._secrets, self._seconds = secrets, seconds
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=backend, max_connections=None, max_keepalive_connections=0
        )

    async def send(self, delivery: Delivery) -> Tried:
        """Try once; whatever a receiver does, this ends."""
        if not (delivery.secret or self._secrets):
            return Tried("EMAKI_WEBHOOK_SECRET is not set for `python -m app.webhooks`")
        try:
            status = await self._post(delivery)
        except TimeoutError:
            return Tried(f"no answer within {self._seconds:g} s")
        except Exception as error:  # noqa: BLE001 - unheard, it would be tried again without a pause
            return Tried(f"{type(error).__name__}: {error}"[:300])
        if 200 <= status < 300:
            return Tried()
        return Tried(f"status {status}", final=status == _GONE)

    async def _post(self, delivery: Delivery) -> int:
        """The answer's status."""
        keys = [secret_bytes(delivery.secret)] if delivery.secret else self._secrets
        body = body_of(delivery)
        signed = headers(delivery.id, int(time.time()), body, keys)
        fields = [*signed.items(), ("content-type", "application/json"), ("user-agent", "Emaki")]
        async with (
            asyncio.timeout(self._seconds),
            self._pool.stream("POST", delivery.url, headers=fields, content=body) as answer,
        ):
            return int(answer.status)

    async def close(self) -> None:
        """End all connections."""
        await self._pool.aclose()
