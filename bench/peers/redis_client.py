"""Redis Streams through redis-py with its C parser."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final

import redis

SERVER: Final = "redis"
SETTINGS: Final = "XADD in pipelines of 1,000 (latency: one by one), XREAD COUNT 10000, hiredis"
_PIPELINE: Final = 1_000


async def create(port: int, topic: str) -> None:
    _client(port).delete(topic)  # it comes with its first message


def _client(port: int) -> redis.Redis:
    return redis.Redis("127.0.0.1", port)


async def produce(port: int, topic: str, values: Iterable[bytes]) -> float:
    client = _client(port)
    client.xadd(topic, {"v": b"first"})
    began = time.perf_counter()
    rest = iter(values)
    while some := list(islice(rest, _PIPELINE)):
        with client.pipeline(transaction=False) as pipeline:
            for value in some:
                pipeline.xadd(topic, {"v": value})
            pipeline.execute()
    return time.perf_counter() - began


async def consume(port: int, topic: str, count: int) -> float:
    client = _client(port)
    last, left, size = b"0", count, 0
    began = time.perf_counter()
    while left > 0:
        found = client.xread({topic: last}, count=10_000, block=1_000)
        for _, messages in found:
            size += sum([len(fields[b"v"]) for _, fields in messages])
            left -= len(messages)
            last = messages[-1][0]
    return time.perf_counter() - began


async def send(port: int, topic: str, values: AsyncIterator[bytes]) -> None:
    client = _client(port)
    async for value in values:
        client.xadd(topic, {"v": value})


async def receive(port: int, topic: str) -> AsyncIterator[bytes]:
    client = _client(port)
    last: bytes = b"0"
    while True:
        for _, messages in client.xread({topic: last}, count=100, block=1_000):
            for _, fields in messages:
                yield fields[b"v"]
            last = messages[-1][0]
