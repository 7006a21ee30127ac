"""`python -m app`: serve HTTP until told to stop."""

import logging
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s api %(levelname)s %(message)s")
    url = wait_for_redis_url(settings.redis_url, settings.data, log.warning)
    uvicorn.run(
        create_app(settings, url),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_SECONDS_FOR_OPEN_STREAMS,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
