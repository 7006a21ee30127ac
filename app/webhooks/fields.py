"""What a client may ask for in `webhook`: looked at when it is submitted, and again at each try."""

from urllib.parse import urlsplit

from app.exceptions import InvalidField
from app.hosts import hostname, is_address
from app.settings import AppSettings
from app.webhooks.addresses import is_named, is_public
from app.webhooks.signing import secret_bytes
from wire.webhook import Webhook

MOST_WAITING = 10_000  # generations that wait for one receiver


def check_webhook(webhook: Webhook, settings: AppSettings) -> None:
    """See that a webhook can be told at all.

    Raises:
        InvalidField: it cannot; the message says what to send instead.
    """
    try:
        parts = urlsplit(webhook.url)
        host, port = parts.hostname or "", parts.port or 1
    except ValueError:
        host, port = "", 0
    printable = webhook.url.isascii() and webhook.url.isprintable() and " " not in webhook.url
    if not (host and port and printable and hostname(parts.netloc.rpartition("@")[2])):
        raise _refused(f"{webhook.url[:80]!a} is no address; send one such as https://host/path")
    if parts.username is not None or parts.fragment:
        raise _refused(
            f"the address of {host} holds credentials or a fragment; leave them out: the "
            "signature tells the receiver who sends"
        )
    named = is_named(host, settings.webhook_names)
    if parts.scheme != "https" and not (named and parts.scheme == "http"):
        raise _refused(f"{parts.scheme!a} is not https; send an https address")
    if not named and (host.lower() == "localhost" or (is_address(host) and not is_public(host))):
        raise _refused(
            f"{host} is within the server's network; send a public address, or add it to "
            "EMAKI_WEBHOOK_HOSTS"
        )
    if webhook.secret is None and not settings.webhook_secret:
        raise _refused(
            "there is no secret to sign with; send `secret`, or set EMAKI_WEBHOOK_SECRET"
        )
    if webhook.secret is not None:
        try:
            secret_bytes(webhook.secret)
        except ValueError as error:
            raise _refused(str(error)) from error


def _refused(why: str) -> InvalidField:
    return InvalidField("webhook", why)
