"""Where Redis is: `EMAKI_REDIS_URL`, else the embedded one, which leaves its address in a file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from wire.sentinel import WANTED, sentinels

URL_FILE = "redis.url"


# What a server says that answers, but takes no writes: full memory, full disk, a replica.
_TAKES_NO_WRITES = ("used memory > 'maxmemory'", "MISCONF", "read only replica", "NOREPLICAS")


class NoRedis(Exception):
    """There is no address to connect to."""


def checked(url: str) -> str:
    """The address itself, if it is one.

    Raises:
        ValueError: it is none; the message does not show it, because a password may stand in it.
    """
    try:
        if sentinels(url) is not None:
            return url
        parts = urlsplit(url)
        host = parts.path if parts.scheme == "unix" else parts.hostname
        database = "" if parts.scheme == "unix" else parts.path.strip("/")
        well_formed = parts.port is None or parts.port > 0
    except ValueError:
        well_formed, parts, host, database = False, urlsplit(""), None, ""
    known = parts.scheme in ("redis", "rediss", "unix") and not parts.fragment
    if not (well_formed and known and host and (database or "0").isdecimal()):
        raise ValueError(
            "not an address of Redis (not shown here: it may hold a password); write "
            "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS, unix://PATH, or "
            f"{WANTED}; and signs like @ / # ? in a password as %40 %2F %23 %3F"
        )
    return url


RedisUrl = Annotated[str, AfterValidator(checked)]


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


def takes_no_writes(error: Exception) -> bool:
    """Whether an answer of Redis means that it cannot store anything for now; it passes."""
    return any(words in str(error) for words in _TAKES_NO_WRITES)


def without_password(url: str) -> str:
    """The address as a log may show it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
