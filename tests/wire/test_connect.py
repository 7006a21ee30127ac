"""Addresses of Redis: what is one, and that a password in a wrong one is not shown."""

import pytest

from wire.connect import checked, without_password
from wire.sentinel import sentinels


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:word@10.0.0.1:6379/0",
        "rediss://user:wo%40rd@redis.example:6380/2?ssl_cert_reqs=required",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
        "redis+sentinel://a,b:26380,[::1]:1/emaki",
        "rediss+sentinel://user:wo%40rd@a/emaki/2?sentinel_username=u&sentinel_password=p",
    ],
)
def test_addresses_are_taken_as_they_are(url: str) -> None:
    assert checked(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://:s3cret@host",
        "redis://",
        "redis://:s3cret@",
        "redis://:s3cret/x@host",
        "redis://:s3cret#x@host",
        "redis://:s3cret?x@host",
        "redis://:123/s3cret@host",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host:99999",
        "redis://:s3cret@host/database",
        "redis://[s3cret",
        "unix://",
        "redis+sentinel://:s3cret@host",
        "redis+sentinel://:s3cret@host/a/b",
        "redis+sentinel://:s3cret@host/a/0/0",
        "redis+sentinel://:s3cret@host,/a",
        "redis+sentinel://:s3cret@host:port/a",
        "redis+sentinel://:s3cret@host/a?sentinel_pasword=s3cret",
        "redis+sentinel://:s3cret@host/a#s3cret",
        "redis+sentinel:///a",
    ],
)
def test_what_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="not an address of Redis") as refusal:
        checked(url)
    assert "s3cret" not in str(refusal.value)


def test_a_log_shows_an_address_without_its_password() -> None:
    assert without_password("redis://u:s3@cret@host:1/0") == "redis://host:1/0"
    shown = without_password("redis+sentinel://:s3cret@a,b/emaki?sentinel_password=s3cret")
    assert shown == "redis+sentinel://a,b/emaki"


def test_sentinels_are_read_with_who_is_whose_password() -> None:
    url = "rediss+sentinel://me:wo%40rd@a,[::1]:5/emaki/2?sentinel_password=p%2Fw"
    found = sentinels(url)
    assert found is not None
    assert (found.hosts, found.service) == ((("a", 26379), ("::1", 5)), "emaki")
    assert found.of_master == {"db": 2, "username": "me", "password": "wo@rd", "ssl": True}
    assert found.of_sentinels["password"] == "p/w"
    assert found.of_sentinels["ssl"]
    assert sentinels("redis://host/0") is None
