"""What waits in vain is ended, whatever else is there."""

import asyncio

from redis.asyncio import Redis

from app.lapses import Lapses
from app.offers import OfferBook
from app.settings import AppSettings
from serve.embedded import EmbeddedRedis
from tests.wire.conftest import World
from wire import keys


def test_a_record_of_another_release_ends_too(world: World, server: EmbeddedRedis) -> None:
    strange, plain = world.accepted(), world.accepted()
    world.redis.hset(keys.generation(strange.id), "request", "{}")
    world.redis.zadd(keys.WAITS, {strange.id: 1, plain.id: 2})

    async def watch() -> None:
        settings = AppSettings(api_keys="k", queue_ttl=3600, model_ttl=3600)
        redis = Redis.from_url(server.url)
        lapses = Lapses(redis, OfferBook(redis, model_ttl=3600), settings)
        await lapses.look()
        await redis.aclose()

    asyncio.run(watch())
    assert [world.status(record) for record in (strange, plain)] == ["failed", "failed"]
    assert world.events(strange) == ["done"]
    assert "queue_timeout" in (world.field(strange, "error") or "")
    assert world.queue() == []
