"""Files whose time has come, and a client that sends one of them again at that very moment."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from serve.embedded import EmbeddedRedis
from wire import keys, life
from wire.images import Images, upload_name
from wire.life import Life
from worker.ledger import Ledger

ID, DATA = "ab" * 16, b"a picture"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = EmbeddedRedis(tmp_path / "data")
    server.start()
    with Redis.from_url(server.url) as connection:
        yield connection
    server.stop()


class Resent(Images):
    """The file is sent again while it is being removed, before it is, as the API does it."""

    redis: Redis

    def remove(self, id_: str) -> None:
        send(self.redis, self)
        super().remove(id_)


def send(redis: Redis, images: Images) -> None:
    facts = {"sha256": "ab", "type": "image/png", "width": "1", "height": "1"}
    call = life.upload(ID, "owner", facts=facts, size=9, data=None, most_stored=0, result_ttl=60)
    assert Life(redis)(call) is None
    images.write(upload_name(ID), DATA)


@pytest.mark.parametrize("kind", [Images, Resent])
def test_an_expired_upload_goes_unless_it_is_sent_again_meanwhile(
    redis: Redis, tmp_path: Path, kind: type[Images]
) -> None:
    images = kind((tmp_path / "pictures").as_uri(), seconds=5)
    if isinstance(images, Resent):
        images.redis = redis
    send(redis, images)
    redis.zadd(keys.IMAGES_KEPT, {ID: time.time() - 1})
    Ledger(redis, "worker", images).remove_old_images()
    stays = kind is Resent
    assert images.read([upload_name(ID)]) == [DATA if stays else None]
    assert (redis.zscore(keys.IMAGES_KEPT, ID) is not None) == stays
