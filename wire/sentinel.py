"""An address that names Sentinels, which know where Redis' master is; and a client of that master.

    redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DATABASE]
        [?sentinel_username=USER&sentinel_password=PASSWORD]

User and password before the `@` are the master's; `rediss+sentinel://` speaks TLS with all of them.
Knows no Redis client: `connect` is given the classes, blocking or of asyncio.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEMES = ("redis+sentinel", "rediss+sentinel")
_PORT = 26379
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}
_PATIENCE = {"socket_timeout": 2, "socket_connect_timeout": 2}  # one of them may be away
WANTED = (
    "redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DATABASE], with "
    "?sentinel_password=... where the Sentinels ask for one, or rediss+sentinel:// for TLS"
)


@dataclass(frozen=True)
class Sentinels:
    """Who to ask, for what, and what a connection needs.

    Attributes:
        hosts: address and port of each Sentinel.
        service: the master's name among them.
        of_master: arguments of a connection to the master.
        of_sentinels: of one to a Sentinel.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    of_master: Mapping[str, Any]
    of_sentinels: Mapping[str, Any]


def sentinels(url: str) -> Sentinels | None:
    """What an address says of Sentinels; None: it is one of Redis itself.

    Raises:
        ValueError: it should name Sentinels, and does not; the message does not show it.
    """
    if not url.startswith(tuple(f"{scheme}:" for scheme in _SCHEMES)):
        return None
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    extra = dict(parse_qsl(parts.query, keep_blank_values=True))
    named = [urlsplit(f"//{host}") for host in hosts.split(",")]
    well_formed = (
        all(one.hostname and not one.path for one in named)
        and _SERVICE.fullmatch(service)
        and (database or "0").isdecimal()
        and extra.keys() <= _OF_SENTINELS.keys()
        and not parts.fragment
    )
    if not well_formed:
        raise ValueError("it names no Sentinels")
    tls = {"ssl": True} if parts.scheme == _SCHEMES[1] else {}
    credentials = {"username": unquote(user) or None, "password": unquote(password) or None}
    return Sentinels(
        hosts=tuple((one.hostname or "", one.port or _PORT) for one in named),
        service=service,
        of_master={"db": int(database or 0), **credentials, **tls},
        of_sentinels={**_PATIENCE, **{_OF_SENTINELS[k]: v for k, v in extra.items()}, **tls},
    )


def connect(url: str, *, redis: Any, sentinel: Any, no_retry: Any, **options: Any) -> Any:
    """A client of the Redis at ``url``, or of the master that Sentinels name, whichever it is then.

    Args:
        redis: redis-py's `Redis`, of asyncio or not.
        sentinel: its `Sentinel`, of the same kind.
        no_retry: its policy for asking a Sentinel, of which there are others.
        options: of each connection to Redis.
    """
    named = sentinels(url)
    if named is None:
        return redis.from_url(url, **options)
    asked = sentinel(
        named.hosts, sentinel_kwargs={**named.of_sentinels, "retry": no_retry}, **named.of_master
    )
    return asked.master_for(named.service, redis_class=redis, **options)
