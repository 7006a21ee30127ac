"""Where Redis is: `EMAKI_REDIS_URL`, else the embedded one, which leaves its address in a file."""

from pathlib import Path

URL_FILE = "redis.url"


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


def without_password(url: str) -> str:
    """The address as a log may show it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
