"""`python -m app`: serve HTTP until told to stop."""

import logging
import os
import socket
import sys

import uvicorn
from pydantic import ValidationError

from app.application import create_app
from app.settings import AppSettings
from wire.connect import wait_for_redis_url

log = logging.getLogger("emaki.app")
_SECONDS_FOR_OPEN_STREAMS = 5


def main() -> int:
    """Run uvicorn; 2 for a setting that cannot work."""
    try:
        settings = AppSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            message = problem["msg"].removeprefix("Value error, ")
            print(f"error: {f'EMAKI_{name}: ' if name else ''}{message}", file=sys.stderr)
        return 2
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        where, why = f"{settings.host}:{settings.port}", os.strerror(error.errno or 0)
        print(
            f"error: cannot listen on {where} ({why}); set EMAKI_PORT to a free port",
            file=sys.stderr,
        )
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s api %(levelname)s %(message)s")
    url = wait_for_redis_url(settings.redis_url, settings.data, log.warning)
    config = uvicorn.Config(
        create_app(settings, url),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_SECONDS_FOR_OPEN_STREAMS,
        server_header=False,
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)


if __name__ == "__main__":
    sys.exit(main())
