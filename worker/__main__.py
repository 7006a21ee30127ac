"""`python -m worker`: load the models, then draw what the queue asks for until told to stop."""

import os

# Read when torch loads its OpenMP: spinning threads of two processes would starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import logging
import signal
import sys
import time
from typing import NoReturn

import torch
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from models.cores import available_cores
from models.memory import keep_freed_memory
from wire.connect import wait_for_redis_url, without_password
from wire.images import Images, ImagesUrlError
from wire.logs import configure
from wire.settings import complain
from wire.traces import TracesError, traces
from worker.catalog import Catalog
from worker.connect import client
from worker.dispatch import Dispatch
from worker.engine.engine import Engine
from worker.engine.precision import choose, plan
from worker.engine.runner import Runner
from worker.jobs import EngineWorker
from worker.ledger import Ledger
from worker.meter import Meter
from worker.settings import WorkerSettings
from worker.warm import draw_one

log = logging.getLogger("emaki.worker")
_IMAGES_SECONDS = 4.0  # a heartbeat must not wait for a store that is away


def main() -> NoReturn:
    """Run until SIGTERM or SIGINT; exit with 0 then, with 2 for a setting that cannot work."""
    try:
        code = run()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    logging.shutdown()
    sys.stderr.flush()
    # Not through the interpreter's end: torch aborts when its threads outlive it.
    os._exit(code)


def run() -> int:
    """The same, as an exit code."""
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        complain(error)
        return 2
    configure("worker", level=settings.log_level, form=settings.log_format)
    _exit_on_signals()
    device = _device(settings.device)
    if device is None:
        print(
            f"error: EMAKI_DEVICE={settings.device}: this machine or torch build has no such "
            "device; use cpu or auto",
            file=sys.stderr,
        )
        return 2
    try:
        images = Images(settings.images, seconds=_IMAGES_SECONDS) if settings.images else None
        spans = traces(settings.traces, "worker")
    except (ImagesUrlError, TracesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if device.type == "cpu":
        keep_freed_memory()
    torch.set_num_threads(1)  # of each thread: cores share out chunks, not operations
    precision = settings.precision or choose(device=device)
    cores = settings.threads or available_cores()
    chosen = plan(precision, device=device, cores=cores, chunk=settings.chunk)
    log.info("%s, %d cores, %s, %s", device, chosen.cores, precision, chosen.dtype)

    redis = _connect(settings)
    engine, meter = Engine(chosen), Meter()
    catalog = Catalog(
        settings.checkpoints,
        device=device,
        plan=chosen,
        prepare=engine.prepare,
        quiet_seconds=meter.quiet_seconds,
    )
    first = catalog.begin(settings.default_model.partition("@")[0])
    if first is not None:
        draw_one(engine, first)
    runner = Runner(engine, on_step=meter.step)
    runner.start()
    name = f"{os.uname().nodename}-{os.getpid()}"
    ledger = Ledger(redis, name, images, traces=spans)
    dispatch = Dispatch(ledger, catalog, runner, meter, step_timeout=settings.step_timeout)
    catalog.watch()
    while not _work(redis, dispatch, catalog, settings):
        _exit_on_signals()
        time.sleep(1)
    try:
        ledger.presence.farewell()
    except RedisError:
        log.warning("Redis is away; it will forget this worker by itself")
    spans.close()
    log.info("stopped")
    return 0


def _work(redis: Redis, dispatch: Dispatch, catalog: Catalog, settings: WorkerSettings) -> bool:
    """Serve the queue for as long as Redis and a model are there; True when told to stop."""
    worker: EngineWorker | None = None
    try:
        dispatch.drop_all()
        dispatch.housekeeping()
        if catalog.names:
            worker = EngineWorker(
                redis,
                dispatch,
                drain_seconds=settings.drain_seconds,
                worker_ttl=settings.worker_ttl,
            )
            worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("Redis is away (%s); trying again", error)
    return worker is not None and worker.stopping


def _connect(settings: WorkerSettings) -> Redis:
    """A connection that answers; waits, with a line now and then, until there is one."""
    said = float("-inf")
    while True:
        url = wait_for_redis_url(settings.redis_url, settings.data, log.warning)
        redis = client(url, socket_connect_timeout=5, health_check_interval=15)
        try:
            redis.ping()
        except RedisError as error:
            if time.monotonic() - said > 10:
                said = time.monotonic()
                where = without_password(url)
                log.warning("Redis at %s is away (%s); trying again every second", where, error)
            time.sleep(1)
        else:
            return redis


def _device(name: str) -> torch.device | None:
    cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    device = torch.device(name)
    known = device.type == "cpu" or (device.index or 0) < torch.cuda.device_count()
    return device if known else None


def _exit_on_signals() -> None:
    """Outside of RQ's loop, which handles them itself, there is nothing to finish."""

    def leave(_signal: int, _frame: object) -> NoReturn:
        log.info("stopped")
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


if __name__ == "__main__":
    main()
