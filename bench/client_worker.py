"""One client process of a benchmark: does one kind of work at full rate and prints what it took.

    python -m bench.client_worker send|send_many|records|batches BOOTSTRAP TOPIC COUNT SIZE

Values are random and all of one size, SIZE bytes, unless SIZE is a range such as 50-150. Settings
are the library's defaults. What it measures includes the last acknowledgement.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import cycle, islice

import ottla

_DISTINCT_COUNT = 1_000
_CALL_COUNT = 10_000


def _values(size: str) -> list[bytes]:
    chance = random.Random(7)
    least, _, most = size.partition("-")
    return [
        chance.randbytes(chance.randint(int(least), int(most or least)))
        for _ in range(_DISTINCT_COUNT)
    ]


async def _send(bootstrap: str, topic: str, count: int, values: list[bytes]) -> float:
    async with ottla.Producer(bootstrap) as producer:
        _ = await producer.send(topic, values[0])
        await producer.flush()
        began = time.perf_counter()
        for value in islice(cycle(values), count):
            _ = await producer.send(topic, value)
        await producer.flush()
        return time.perf_counter() - began


async def _send_many(bootstrap: str, topic: str, count: int, values: list[bytes]) -> float:
    many = values * (_CALL_COUNT // len(values))
    async with ottla.Producer(bootstrap) as producer:
        _ = await producer.send(topic, values[0])
        await producer.flush()
        began = time.perf_counter()
        for done in range(0, count, len(many)):
            _ = await producer.send_many(topic, many[: count - done])
        await producer.flush()
        return time.perf_counter() - began


async def _records(bootstrap: str, topic: str, count: int, values: list[bytes]) -> float:
    async with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        size = len((await anext(consumer)).value or b"")
        began = time.perf_counter()
        left = count
        async for record in consumer:
            size += len(record.value or b"")
            left -= 1
            if not left:
                break
        seconds = time.perf_counter() - began
    _check_size(size, count, values)
    return seconds


async def _batches(bootstrap: str, topic: str, count: int, values: list[bytes]) -> float:
    async with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        size = len((await anext(consumer)).value or b"")
        began = time.perf_counter()
        left = count
        async for batch in consumer.batches():
            size += sum([len(record.value or b"") for record in batch])
            left -= len(batch)
            if left <= 0:
                break
        seconds = time.perf_counter() - began
    _check_size(size, count, values)
    return seconds


def _check_size(size: int, count: int, values: list[bytes]) -> None:
    """Everything came; else the rate is worth nothing."""
    least = count // len(values) * sum(map(len, values))
    if size < least:
        raise RuntimeError(f"{size} bytes came of {least}")


_WORK: dict[str, Callable[[str, str, int, list[bytes]], Awaitable[float]]] = {
    "send": _send,
    "send_many": _send_many,
    "records": _records,
    "batches": _batches,
}


async def main() -> None:
    """Do what the command line says."""
    kind, bootstrap, topic, count, size = sys.argv[1:]
    cpu = time.process_time()
    seconds = await _WORK[kind](bootstrap, topic, int(count), _values(size))
    cpu = time.process_time() - cpu
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_seconds": cpu}) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
