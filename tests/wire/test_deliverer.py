"""The deliverer on a real Redis: what fails is told later or given up, and keeps up no other."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from app.webhooks.addresses import PublicOnly
from app.webhooks.deliverer import Deliverer
from app.webhooks.sender import Sender
from tests.wire.conftest import World
from wire import keys, life

HERE = "127.0.0.1"


class Receiver:
    """Answers with these statuses, then with 204; keeps what ids it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.ids = list(statuses), []  # type: list[int], list[str]

    async def start(self) -> asyncio.Server:
        self.server = await asyncio.start_server(self._answer, HERE, 0)
        return self.server

    @property
    def port(self) -> int:
        return int(self.server.sockets[0].getsockname()[1])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        self.ids.append(head.partition("webhook-id: ")[2].partition("\r\n")[0])
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def ended(world: World, port: int) -> str:
    """The id of the message that tells a receiver here of a generation's end."""
    record = world.accepted(webhook={"url": f"http://{HERE}:{port}/", "events": ["done"]})
    world.run(life.cancel(record))
    return f"{record.id}.done"


async def deliver(world: World, until: Callable[[], bool], *, give_up: float = 60) -> None:
    """Run a deliverer until that is so."""
    redis = Redis(port=world.redis.connection_pool.connection_kwargs["port"])
    sender = Sender(PublicOnly((HERE,)), [b"x" * 32], seconds=5)
    deliverer = Deliverer(redis, sender, lease=60, give_up=give_up)
    running = asyncio.create_task(deliverer.run())
    async with asyncio.timeout(20):
        while not until():  # noqa: ASYNC110 - Redis and receivers say nothing when it is
            await asyncio.sleep(0.01)
    deliverer.stopping.set()
    for task in deliverer._under_way:
        task.cancel()  # the deaf ones
    await running
    await sender.close()
    await redis.aclose()


def counted(world: World) -> dict[str, int]:
    found = world.redis.hgetall(keys.METRICS)
    outcomes = ("delivered", "later", "dead")
    return {name: int(found.get(f"webhooks:{name}".encode(), 0)) for name in outcomes}


def test_what_fails_is_told_later_with_the_same_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.webhooks.deliverer._FIRST_PAUSE", 0.01)

    async def run() -> None:
        receiver = Receiver(500, 503, 302)
        async with await receiver.start():
            message = ended(world, receiver.port)
            await deliver(world, lambda: counted(world)["delivered"] == 1)
        assert receiver.ids == [message] * 4
        assert counted(world) == {"delivered": 1, "later": 3, "dead": 0}

    asyncio.run(run())


@pytest.mark.parametrize(("status", "give_up"), [(410, 60), (500, 0)])
def test_what_is_gone_or_fails_for_too_long_is_given_up(
    world: World, status: int, give_up: float
) -> None:
    async def run() -> None:
        receiver = Receiver(status)
        async with await receiver.start():
            message = ended(world, receiver.port)
            await deliver(world, lambda: counted(world)["dead"] == 1, give_up=give_up)
        assert receiver.ids == [message]
        assert world.redis.hkeys(keys.dead("")) == [message.encode()]

    asyncio.run(run())


def test_a_thousand_for_a_deaf_or_closed_port_keep_up_nobody_else(world: World) -> None:
    async def run() -> None:
        receiver = Receiver()
        with socket.create_server((HERE, 0)) as deaf, socket.socket() as closed:
            closed.bind((HERE, 0))
            for _ in range(500):
                ended(world, deaf.getsockname()[1])
                ended(world, closed.getsockname()[1])
            async with await receiver.start():
                told = [ended(world, receiver.port) for _ in range(20)]
                await deliver(world, lambda: len(receiver.ids) == len(told))
            assert set(receiver.ids) == set(told)
            assert counted(world)["dead"] == 0

    asyncio.run(run())
