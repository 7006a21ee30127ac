"""Addresses of Redis: what is one, and that a password in a wrong one is not shown."""

import pytest

from wire.connect import checked, without_password


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:word@10.0.0.1:6379/0",
        "rediss://user:wo%40rd@redis.example:6380/2?ssl_cert_reqs=required",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
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
    ],
)
def test_what_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="not an address of Redis") as refusal:
        checked(url)
    assert "s3cret" not in str(refusal.value)


def test_a_log_shows_an_address_without_its_password() -> None:
    assert without_password("redis://u:s3@cret@host:1/0") == "redis://host:1/0"
