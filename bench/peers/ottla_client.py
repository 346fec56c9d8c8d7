"""Ottla through its own Python client, as it comes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final

import ottla

SERVER: Final = "ottla"
SETTINGS: Final = "as it comes: acks=all, flushed first, linger 5 ms, batches of 64 KiB, checksums"
_CALL_COUNT: Final = 10_000


async def create(port: int, topic: str, **configs: str) -> None:
    async with ottla.Admin(_bootstrap(port)) as admin:
        await admin.create_topic(topic, configs=configs)


def _bootstrap(port: int) -> str:
    return f"127.0.0.1:{port}"


async def produce(port: int, topic: str, values: Iterable[bytes]) -> float:
    async with ottla.Producer(_bootstrap(port)) as producer:
        _ = await producer.send(topic, b"first")
        await producer.flush()
        began = time.perf_counter()
        rest = iter(values)
        while some := list(islice(rest, _CALL_COUNT)):
            _ = await producer.send_many(topic, some)
        await producer.flush()
        return time.perf_counter() - began


async def consume(port: int, topic: str, count: int) -> float:
    async with ottla.Consumer(_bootstrap(port), auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        await anext(consumer)
        began = time.perf_counter()
        left, size = count, 0
        async for batch in consumer.batches():
            size += sum([len(record.value or b"") for record in batch])
            left -= len(batch)
            if left <= 0:
                break
        return time.perf_counter() - began


async def send(port: int, topic: str, values: AsyncIterator[bytes]) -> None:
    async with ottla.Producer(_bootstrap(port)) as producer:
        async for value in values:
            _ = await producer.send(topic, value)


async def receive(port: int, topic: str) -> AsyncIterator[bytes]:
    async with ottla.Consumer(_bootstrap(port), auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        async for record in consumer:
            yield record.value or b""
