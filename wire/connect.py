"""Where Redis is: `EMAKI_REDIS_URL`, else the embedded one, which leaves its address in a file."""

import time
from collections.abc import Callable
from pathlib import Path

URL_FILE = "redis.url"
URL_PATTERN = r"^(redis|rediss|unix)://"


class NoRedis(Exception):
    """There is no address to connect to."""


def redis_url(configured: str | None, data: Path) -> str:
    """The address to use.

    Raises:
        NoRedis: none is configured, and `make serve` has not left one in the data folder.
    """
    if configured:
        return configured
    try:
        return (data / URL_FILE).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NoRedis(
            f"no Redis: EMAKI_REDIS_URL is unset and {data / URL_FILE} does not exist; "
            "set EMAKI_REDIS_URL, or run `make serve`, which starts one"
        ) from error


def wait_for_redis_url(configured: str | None, data: Path, say: Callable[[str], None]) -> str:
    """`redis_url`, but patient: says what is missing now and then until it is there."""
    said = float("-inf")
    while True:
        try:
            return redis_url(configured, data)
        except NoRedis as error:
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"{error}; looking again every second")
        time.sleep(1)


def without_password(url: str) -> str:
    """The address as a log may show it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
