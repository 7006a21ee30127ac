"""`python -m worker.health`: whether the worker on this host is alive and holds a model.

A container's health check. Asks Redis for the worker's own sign of life, which stops when its
engine hangs; knows nothing of the engine, and imports no torch.
"""

import os
import sys
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from wire import keys
from wire.connect import NoRedis, checked, redis_url
from worker.connect import client


def main() -> int:
    """0 when it is; 1 and one line when it is not."""
    data = Path(os.environ.get("EMAKI_DATA") or ".data")
    host = os.uname().nodename
    try:
        url = checked(redis_url(os.environ.get("EMAKI_REDIS_URL"), data))
        with client(url, socket_timeout=5, socket_connect_timeout=5) as redis:
            names: Any = redis.smembers(keys.WORKERS)
            ours = [name for name in map(bytes.decode, names) if name.rpartition("-")[0] == host]
            alive = any(redis.exists(keys.worker(name)) for name in ours)
    except (NoRedis, RedisError, ValueError) as error:
        print(f"Redis: {error}", file=sys.stderr)
        return 1
    if not alive:
        print(f"no worker on {host} is alive with a model; its log says why", file=sys.stderr)
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
