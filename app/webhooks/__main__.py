"""`python -m app.webhooks`: tell webhooks until told to stop."""

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from app.connect import close, pooled
from app.hosts import parse_hosts
from app.webhooks.addresses import PublicOnly
from app.webhooks.deliverer import Deliverer
from app.webhooks.sender import Sender
from app.webhooks.settings import WebhookSettings
from app.webhooks.signing import secrets_of
from wire.connect import wait_for_redis_url
from wire.logs import configure
from wire.settings import complain

log = logging.getLogger("emaki.webhooks")
_CONNECTIONS = 16
_LEASES = 1.5  # times the longest try


def main() -> int:
    """0 when told to stop; 2 for a setting that cannot work."""
    try:
        settings = WebhookSettings()
    except ValidationError as error:
        complain(error)
        return 2
    configure("webhooks", level=settings.log_level, form=settings.log_format)
    url = wait_for_redis_url(settings.redis_url, settings.data, log.warning)
    asyncio.run(_deliver(settings, url))
    return 0


async def _deliver(settings: WebhookSettings, url: str) -> None:
    redis = pooled(url, connections=_CONNECTIONS)
    sender = Sender(
        PublicOnly(parse_hosts(settings.webhook_hosts)),
        secrets_of(settings.webhook_secret),
        seconds=settings.webhook_timeout,
    )
    lease = settings.webhook_timeout * _LEASES + 1
    deliverer = Deliverer(redis, sender, lease=lease, give_up=settings.webhook_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, deliverer.stopping.set)
    log.info("telling webhooks")
    try:
        await deliverer.run()
    finally:
        await sender.close()
        await close(redis)
    log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
