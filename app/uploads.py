"""Pictures that clients have sent apart from requests: kept as long as results are, and counted.

An upload's name comes from its owner and its bytes, so the same picture is kept once. Its bytes lie
in Redis, or beside the drawn pictures where `EMAKI_IMAGES` says.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.decoding import Facts
from app.exceptions import StorageFull
from app.settings import AppSettings
from wire import keys, life
from wire.images import Images, upload_name
from wire.life import AsyncLife


@dataclass(frozen=True)
class Upload:
    """What is known of one."""

    id: str
    sha256: str
    facts: Facts

    @property
    def url(self) -> str:
        """What requests call it."""
        return f"/v1/uploads/{self.id}"


class Uploads:
    """One per process."""

    def __init__(self, redis: Redis, settings: AppSettings, images: Images | None) -> None:
        self._redis, self._settings, self._images = redis, settings, images
        self._life = AsyncLife(redis)

    async def keep(self, owner: str, data: bytes, facts: Facts) -> Upload:
        """Keep a picture that was looked at.

        Raises:
            StorageFull: its owner's results take as many bytes as they may.
            ImagesAway: there is nowhere to write it now.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        id_ = hashlib.sha256(f"{owner} {sha256}".encode()).hexdigest()[:32]
        most, images = self._settings.most_stored, self._images
        already = await self._life(
            life.upload(
                id_,
                owner,
                facts={
                    "sha256": sha256,
                    "type": facts.media_type,
                    "width": str(facts.width),
                    "height": str(facts.height),
                },
                size=len(data),
                data=data if images is None else None,
                most_stored=most,
                result_ttl=self._settings.result_ttl,
            )
        )
        if already is not None:
            raise StorageFull(already, most, len(data))
        if images is not None:
            await asyncio.to_thread(images.write, upload_name(id_), data)
        return Upload(id_, sha256, facts)

    async def find(self, id_: str, owner: str) -> Upload | None:
        """One of this owner's; None: there is none."""
        names = ["owner", "sha256", "type", "width", "height"]
        found: Any = await self._redis.hmget(keys.upload(id_), names)
        if found[0] is None or found[0].decode() != owner:
            return None
        sha256, media_type, width, height = (value.decode() for value in found[1:])
        return Upload(id_, sha256, Facts(media_type, int(width), int(height)))

    async def read(self, upload: Upload) -> bytes | None:
        """Its bytes; None: they have gone meanwhile."""
        if self._images is not None:
            return (await asyncio.to_thread(self._images.read, [upload_name(upload.id)]))[0]
        data: Any = await self._redis.hget(keys.upload(upload.id), "data")
        return data if data is None else bytes(data)

    async def discard(self, upload: Upload, owner: str) -> None:
        """Keep it no more."""
        await self._life(life.discard(upload.id, owner))
