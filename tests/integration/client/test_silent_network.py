"""A network that goes silent without a word: who waits for it notices, and goes on elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from integration.client.arrangement import two_topics
from integration.client.cutting_proxy import cutting_proxy

from ottla.client import liveness
from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.protocol.errors import InvalidRequest


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.2)


async def test_consumer_notices_a_connection_that_fell_silent_and_reads_on() -> None:
    async with (
        cutting_proxy() as proxy,
        two_topics(advertised=f"public=127.0.0.1:{proxy.port}", idle_heartbeat_ms=100) as cluster,
    ):
        proxy.target_port = cluster.broker.port
        address = f"127.0.0.1:{proxy.port}"
        async with Consumer(address, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            async with Producer(address) as producer:
                await (await producer.send("single", b"before"))
            assert [each.value for each in await consumer.next_batch()] == [b"before"]
            proxy.silence()
            async with Producer(address) as producer:
                await (await producer.send("single", b"after"))
            async with asyncio.timeout(30):
                assert [each.value for each in await consumer.next_batch()] == [b"after"]


class Told(logging.Handler):
    """Warnings of the client, for a test to wait for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.put_nowait(record.getMessage())


@pytest.fixture
def told() -> Iterator[Told]:
    handler = Told()
    logger = logging.getLogger("ottla.client.fetch_troubles")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_consumer_tells_once_that_its_leader_is_away_and_once_that_it_is_back(
    told: Told,
) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with (
        cutting_proxy() as proxy,
        two_topics(advertised=f"public=127.0.0.1:{proxy.port}", idle_heartbeat_ms=100) as cluster,
        await asyncio.start_server(refuse, "127.0.0.1", 0) as wall,
        asyncio.timeout(30),
    ):
        proxy.target_port = cluster.broker.port
        async with Consumer(f"127.0.0.1:{proxy.port}", auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single", "flights"])
            proxy.target_port = wall.sockets[0].getsockname()[1]
            proxy.cut()
            where = f"broker 1 at 127.0.0.1:{proxy.port}"
            assert (await told.messages.get()).startswith(f"{where} can't be fetched from")
            proxy.target_port = cluster.broker.port
            assert await told.messages.get() == "broker 1 answers again"
            async with Producer(cluster.bootstrap) as producer:
                await (await producer.send("single", b"after"))
            assert [each.value for each in await consumer.next_batch()] == [b"after"]
        assert told.messages.empty()


async def test_producer_notices_a_connection_that_fell_silent_and_loses_nothing() -> None:
    async with (
        cutting_proxy() as proxy,
        two_topics(advertised=f"public=127.0.0.1:{proxy.port}", idle_heartbeat_ms=100) as cluster,
    ):
        proxy.target_port = cluster.broker.port
        address = f"127.0.0.1:{proxy.port}"
        async with Producer(address) as producer:
            await (await producer.send("single", b"before"))
            proxy.silence()
            async with asyncio.timeout(30):
                receipt = await (await producer.send("single", b"after"))
            assert receipt.offset is not None
            assert receipt.offset >= 1


async def refused(call: Callable[[], Coroutine[Any, Any, object]]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await call()
    return caught.value.message


async def test_who_waits_for_a_broker_hears_that_the_client_was_closed() -> None:
    asked = asyncio.Event()
    connections: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, connection: asyncio.StreamWriter) -> None:
        connections.append(connection)
        asked.set()

    silent = await asyncio.start_server(accept, "127.0.0.1", 0)
    address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    producer, consumer, admin = Producer(address), Consumer(address), Admin(address)
    calls: list[tuple[Any, Callable[[], Coroutine[Any, Any, object]]]] = [
        (producer, lambda: producer.send("single", b"v")),
        (consumer, lambda: consumer.assign(["single"])),
        (admin, admin.list_topics),
    ]
    ends: list[str] = []
    async with silent:
        for client, call in calls:
            asked.clear()
            await client.open()
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                waiting = group.create_task(refused(call), name="waiting")
                await asked.wait()
                await client.close()
            ends.append(waiting.result())
        for connection in connections:
            connection.close()
            await connection.wait_closed()
    assert ends == ["the client was closed during the call"] * 3
