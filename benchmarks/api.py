"""What one API process takes: submits, status polls and open streams. `python -m benchmarks.api`.

A real Redis and one uvicorn process; no worker, so that everything submitted stays queued and a
stream stays open. The load generator is this process: it, Redis and the API share the machine's
cores, and the figures say how busy each was. Requests leave on schedule (open loop): a slow answer
does not make the next request later, and its wait counts.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis import Redis

from benchmarks.machine import describe
from serve.embedded import EmbeddedRedis
from wire import keys
from wire.schemas import CardDefaults, ModelCard

_CARD = ModelCard(
    id="bench",
    created=1,
    version="bench@0000001",
    versions=["bench@0000001"],
    classes=["Circle"],
    null_class=True,
    height=28,
    width=28,
    channels=1,
    timesteps=1000,
    defaults=CardDefaults(sampler="dpmpp_2m", steps=20, guidance_scale=1.5),
    quality={},
)
_WANTED = {"class": "Circle", "batch": 1}
_BODY = json.dumps(_WANTED).encode()
_HOOKED = json.dumps({**_WANTED, "webhook": {"url": "https://hooks.example/x"}}).encode()
_CONNECTIONS = 64


class Connection:
    """One keep-alive HTTP/1.1 connection; as little work as possible, for it shares the cores."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; status and body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return int(head[9:12]), await self._reader.readexactly(length)

    async def stream(self, request: bytes) -> None:
        """Open an event stream and read its first event."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if int(head[9:12]) != 200:
            raise RuntimeError(f"a stream was refused: {head[:200]!r}")
        await self._reader.readuntil(b"event: status")

    def close(self) -> None:
        self._writer.close()


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A POST request with JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def pool(port: int, count: int) -> AsyncIterator[asyncio.Queue[Connection]]:
    """So many open connections."""
    waiting: asyncio.Queue[Connection] = asyncio.Queue()
    connections = [Connection(port) for _ in range(count)]
    for connection in connections:
        await connection.open()
        waiting.put_nowait(connection)
    try:
        yield waiting
    finally:
        for connection in connections:
            connection.close()


async def load(
    port: int, *, rate: float, seconds: float, request: Callable[[int], bytes], status: int
) -> list[float]:
    """Milliseconds of each answer at a steady rate, from when it was due to be sent."""
    taken: list[float] = []
    async with pool(port, _CONNECTIONS) as connections:

        async def one(number: int, due: float) -> None:
            connection = await connections.get()
            answered, body = await connection.ask(request(number))
            taken.append(1000 * (time.perf_counter() - due))
            connections.put_nowait(connection)
            if answered != status:
                raise RuntimeError(f"{answered}: {body[:300]!r}")

        began = time.perf_counter() + 0.05
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                pause = due - time.perf_counter()
                if pause > 0:
                    await asyncio.sleep(pause)
                group.create_task(one(number, due))
    return taken


def percentiles(values: list[float]) -> str:
    """Median, 99th percentile and worst, in milliseconds."""
    ordered = sorted(values)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {ordered[-1]:.1f} ms"


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(folder: Path, port: int) -> Iterator[tuple[Redis, int]]:
    """Redis with a model's card in it, and one API process; its connection and process id."""
    server = EmbeddedRedis(folder)
    server.start()
    redis = Redis.from_url(server.url)
    redis.hset(keys.MODELS, _CARD.version, _CARD.model_dump_json())
    redis.zadd(keys.DRAWABLE, {_CARD.version: time.time()})
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("EMAKI_")},
        "EMAKI_REDIS_URL": server.url,
        "EMAKI_PORT": str(port),
        "EMAKI_DEFAULT_MODEL": "bench",
        "EMAKI_MAX_QUEUE": "1000000",
        "EMAKI_MAX_STORED": "0",
        "EMAKI_LOG_LEVEL": "WARNING",
        "EMAKI_WEBHOOK_SECRET": "whsec_" + "A" * 44,
    }
    api = subprocess.Popen([sys.executable, "-m", "app"], env=environment)
    try:
        yield redis, api.pid
    finally:
        api.send_signal(signal.SIGTERM)
        api.wait(timeout=30)
        redis.close()
        server.stop()


async def until_up(port: int) -> None:
    """Until the API answers."""
    for _ in range(300):
        try:
            async with pool(port, 1) as connections:
                status, _ = await (await connections.get()).ask(get("/livez"))
                assert status == 200
                return
        except OSError:
            await asyncio.sleep(0.1)
    raise RuntimeError("the API did not start")


async def measure(redis: Redis, port: int, api: int, arguments: argparse.Namespace) -> None:
    """The three figures, one after the other on the same process."""
    await until_up(port)
    async with pool(port, 1) as connections:
        _, body = await (await connections.get()).ask(post("/v1/generations", _BODY))
    id_ = json.loads(body)["id"]
    path = f"/v1/generations/{id_}"
    seconds = arguments.seconds
    await load(
        port, rate=arguments.polls, seconds=3, request=lambda _: get(path), status=200
    )  # warm

    async def report(name: str, rate: float, request: Callable[[int], bytes], status: int) -> None:
        busy, own, wall = processor(api), time.process_time(), time.perf_counter()
        taken = await load(port, rate=rate, seconds=seconds, request=request, status=status)
        wall = time.perf_counter() - wall
        api_share, own_share = (processor(api) - busy) / wall, (time.process_time() - own) / wall
        print(
            f"{name:8} {len(taken) / wall:6.0f}/s   {percentiles(taken)}   "
            f"(API {api_share:.0%} of a core, load generator {own_share:.0%})"
        )

    wanted = _HOOKED if arguments.webhooks else _BODY
    await report("submit", arguments.submits, lambda _: post("/v1/generations", wanted), 202)
    redis.delete("rq:queue:emaki")  # a long queue is another benchmark's business
    await report("status", arguments.polls, lambda _: get(path), 200)

    connections_before = redis.info("clients")["connected_clients"]
    before = resident(api)
    streams = [Connection(port) for _ in range(arguments.streams)]
    for start in range(0, len(streams), 100):
        part = streams[start : start + 100]
        await asyncio.gather(*(stream.open() for stream in part))
        await asyncio.gather(*(stream.stream(get(f"{path}/events")) for stream in part))
    await asyncio.sleep(2)
    grown = (resident(api) - before) / len(streams) / 1000
    new = redis.info("clients")["connected_clients"] - connections_before
    print(f"streams  {len(streams)} open at {grown:.1f} kB each; {new:+} connections to Redis")
    await report("status", arguments.polls / 2, lambda _: get(path), 200)
    for stream in streams:
        stream.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--submits", type=float, default=200, help="a second")
    parser.add_argument("--polls", type=float, default=1000, help="a second")
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--webhooks", action="store_true", help="each submit asks for one")
    arguments = parser.parse_args()
    print(describe())
    print("the load generator, Redis and one API process share these cores")
    with tempfile.TemporaryDirectory() as folder:
        port = 18765
        with service(Path(folder), port) as (redis, api):
            gc.disable()  # this process's own pauses would count as the API's
            asyncio.run(measure(redis, port, api, arguments))


if __name__ == "__main__":
    main()
