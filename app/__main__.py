"""`python -m app`: serve HTTP until told to stop."""

import gc
import logging
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from app.application import create_app
from app.protocol import BoundedHttp
from app.settings import AppSettings
from wire.connect import wait_for_redis_url
from wire.images import ImagesUrlError
from wire.logs import configure
from wire.settings import complain
from wire.traces import TracesError, traces

log = logging.getLogger("emaki.app")
SECONDS_FOR_OPEN_STREAMS = 5


def main() -> int:
    """Run uvicorn; 2 for a setting that cannot work."""
    try:
        settings = AppSettings()
    except ValidationError as error:
        complain(error)
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
    # uvicorn raises the signal again once it has stopped: that is a clean end.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    configure("api", level=settings.log_level, form=settings.log_format)
    _allow_many_connections()
    url = wait_for_redis_url(settings.redis_url, settings.data, log.warning)
    try:
        spans = None if settings.traces == "off" else traces(settings.traces, "api")
        app = create_app(settings, url, traces=spans)
    except (ImagesUrlError, TracesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        app,
        http=BoundedHttp.within(settings.request_timeout),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SECONDS_FOR_OPEN_STREAMS,
        server_header=False,
    )
    # What is loaded by now stays: the collector need not walk through it, while requests wait.
    gc.collect()
    gc.freeze()
    with listener:
        _Server(config, app).run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Lets those who wait go before it closes their connections."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stop_waiting()
        await super().shutdown(sockets)


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _allow_many_connections() -> None:
    """Each open stream is a file; the usual soft limit of 1,024 is far below what is allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)


if __name__ == "__main__":
    sys.exit(main())
