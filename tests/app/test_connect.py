"""Connections to Redis that end at a bad moment."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio
import uvloop
from redis.exceptions import ConnectionError as LostConnection

from app.connect import listening, pooled

RESET = struct.pack("ii", 1, 0)


@pytest.mark.parametrize("connect", [lambda url: pooled(url, connections=2), listening])
def test_a_connection_that_ends_while_it_is_written_to_is_lost_and_nothing_else(
    connect: Callable[[str], redis.asyncio.Redis],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            with suppress(OSError):  # the server is closed
                while True:  # the client tries again
                    connection, _address = server.accept()
                    time.sleep(0.05)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.close()

        async def slowly(connection: Any) -> None:
            if waits:  # a busy API: the reset is seen before anything is written
                await asyncio.sleep(waits.pop())
            await connection.on_connect_check_health(check_health=False)

        async def ask() -> None:
            client = connect(f"redis://127.0.0.1:{server.getsockname()[1]}")
            client.connection_pool.connection_kwargs["redis_connect_func"] = slowly
            try:
                await client.ping()
            finally:
                await client.aclose()

        waits = [0.2]
        threading.Thread(target=reset, daemon=True).start()
        with pytest.raises(LostConnection):
            uvloop.run(ask())
