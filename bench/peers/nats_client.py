"""NATS JetStream through nats-py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any, Final

import nats

SERVER: Final = "nats"
SETTINGS: Final = "publish with 1,000 acknowledgements awaited at a time; ordered push consumer"
_IN_FLIGHT: Final = 1_000


async def _connected(port: int) -> Any:
    return await nats.connect(f"nats://127.0.0.1:{port}")


async def create(port: int, topic: str) -> None:
    connection = await _connected(port)
    await connection.jetstream().add_stream(name=topic, subjects=[topic])
    await connection.close()


async def produce(port: int, topic: str, values: Iterable[bytes]) -> float:
    connection = await _connected(port)
    stream = connection.jetstream()
    await stream.publish(topic, b"first")
    began = time.perf_counter()
    rest = iter(values)
    while some := list(islice(rest, _IN_FLIGHT)):
        await asyncio.gather(*(stream.publish(topic, value) for value in some))
    seconds = time.perf_counter() - began
    await connection.close()
    return seconds


async def consume(port: int, topic: str, count: int) -> float:
    connection = await _connected(port)
    subscription = await connection.jetstream().subscribe(topic, ordered_consumer=True)
    await subscription.next_msg(10)
    began = time.perf_counter()
    size = 0
    for _ in range(count):
        size += len((await subscription.next_msg(10)).data)
    seconds = time.perf_counter() - began
    await connection.close()
    return seconds


async def send(port: int, topic: str, values: AsyncIterator[bytes]) -> None:
    connection = await _connected(port)
    stream = connection.jetstream()
    async for value in values:
        await stream.publish(topic, value)
    await connection.close()


async def receive(port: int, topic: str) -> AsyncIterator[bytes]:
    connection = await _connected(port)
    subscription = await connection.jetstream().subscribe(topic, ordered_consumer=True)
    async for message in subscription.messages:
        yield message.data
