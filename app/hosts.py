"""Whose names a request may use: the server's own in `Host`, its own or a named page's in `Origin`.

Without API keys every page in a browser on this machine could ask on its user's behalf: by a name
of its own that it lets point to 127.0.0.1 (DNS rebinding; `Host` tells), or by a plain form
(`Origin` tells). Pure: header values come in, yes or no goes out.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

ANY = "*"
_HOST = re.compile(r"([a-z0-9_.-]+?|\[[0-9a-f:.]+\])\.?(?::\d{1,5})?")
_ENTRY = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")


def parse_hosts(text: str) -> tuple[str, ...]:
    """Comma-separated names, as they are compared: `name`, `*.name`, an address, or `*`.

    Raises:
        ValueError: an entry is none of these.
    """
    entries = tuple(part.strip().lower().rstrip(".") for part in text.split(",") if part.strip())
    for entry in entries:
        if not _ENTRY.fullmatch(entry):
            raise ValueError(
                f"{entry!r} is not a host; write names or addresses without scheme and port, such "
                "as emaki.example.org, *.example.org, 10.0.0.5, [::1], or * for any"
            )
    return entries


@dataclass(frozen=True)
class Names:
    """What may stand in `Host` and in `Origin`.

    Attributes:
        hosts: as `parse_hosts` gives them; None: this machine's own names only.
        origins: of other pages that may ask, or `*`; None: any page may.
    """

    hosts: tuple[str, ...] | None
    origins: Collection[str] | None

    def is_ours(self, host: str) -> bool:
        """Whether the server goes by the name in a `Host` header, whatever the port."""
        name = hostname(host)
        if self.hosts is None:
            return is_loopback(name)
        return any(matches(name, entry) for entry in self.hosts)

    def may_ask(self, origin: str, host: str) -> bool:
        """Whether the page of an `Origin` header may ask the server that it calls ``host``."""
        if self.origins is None or ANY in self.origins or origin in self.origins:
            return True
        return urlsplit(origin).netloc.lower() == host.lower() != ""


def hostname(host: str) -> str:
    """A `Host` header without its port, an IPv6 address in its brackets; "" if it is no such."""
    parts = _HOST.fullmatch(host.lower())
    return parts[1] if parts else ""


def is_loopback(host: str) -> bool:
    """Whether a name or an address always means the machine that uses it."""
    return host == "localhost" or _address_is_loopback(host)


def is_address(host: str) -> bool:
    """Whether it is an IP address, which no name of a foreign page can be."""
    return _address(host) is not None


def _address_is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def matches(name: str, entry: str) -> bool:
    """Whether a name or an address is what an entry of `parse_hosts` stands for."""
    if entry in (ANY, name):
        return True
    return entry.startswith("*.") and name.endswith(entry[1:])
