"""Where a webhook may be: nowhere inside, by whatever name, written how one likes.

A name is resolved once for each try, what it leads to is checked, and the connection goes to one of
these addresses, not to the name: one that leads elsewhere a moment later (DNS rebinding) gains
nothing. Then the connected socket itself is asked where it ended.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

import httpcore

from app.hosts import matches

Resolve = Callable[[str, int], Awaitable[list[str]]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all else of IPv6 is nobody's, or inside
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")  # RFC 9637, which Python learns of in 3.14
_MOST_TRIED = 4


class ForbiddenAddress(httpcore.ConnectError):
    """The receiver lies within the network."""


def is_public(address: str) -> bool:
    """Whether anybody's machine may have it; an IPv4 address inside an IPv6 one counts itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
        elif found.teredo is not None or found not in _GLOBAL_UNICAST or found in _DOCUMENTATION:
            return False
    return found.is_global and not found.is_multicast


def is_named(host: str, names: Iterable[str]) -> bool:
    """Whether a receiver's host is one of those that may be anywhere."""
    name = f"[{host}]" if ":" in host else host
    return any(matches(name.lower(), entry) for entry in names)


async def resolve(host: str, port: int) -> list[str]:
    """A name's addresses."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses, and to hosts that the settings name.

    Args:
        named: hosts that may be anywhere, as `app.hosts.parse_hosts` gives them.
    """

    def __init__(
        self,
        named: Iterable[str],
        *,
        resolve: Resolve = resolve,
        inner: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._named, self._resolve = tuple(named), resolve
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        trusted = is_named(host, self._named)
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        usable = [address for address in found if trusted or is_public(address)]
        if not usable:
            raise ForbiddenAddress(f"{host} leads to {', '.join(found[:3])}, which is not public")
        for left, address in enumerate(usable[:_MOST_TRIED], start=1):
            try:
                stream = await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == min(len(usable), _MOST_TRIED):
                    raise
                continue
            peer = stream.get_extra_info("server_addr")  # None: it has hung up already
            if peer is not None and (trusted or is_public(str(peer[0]))):
                return stream
            await stream.aclose()
            if peer is None:
                raise httpcore.ConnectError(f"{host} hung up at once")
            raise ForbiddenAddress(f"{host} ended at {peer[0]}, which is not public")
        raise AssertionError("one of them was tried")
