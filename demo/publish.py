"""Worker process: publishes every flight through the client library, keyed by its carrier.

The producer hashes keys to partitions as Kafka's do, batches by itself and keeps the order of each
partition, so that the flights of one carrier stay in theirs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import ottla
from demo.dataset import Flight, flights
from demo.reporting import Reporter

CHUNK_FLIGHT_COUNT = 5_000
CHUNKS_IN_FLIGHT_MAX = 8


async def publish(bootstrap: str, topic: str, *, archive: Path) -> None:
    """Publish the archive's flights to the topic and report them as they are acknowledged."""
    reporter = Reporter()
    waiting: list[tuple[ottla.Deliveries, int]] = []
    async with ottla.Producer(bootstrap, acks="all") as producer:
        for chunk in chunks(flights(archive)):
            pairs = [(flight.carrier, flight.line) for flight in chunk]
            deliveries = await producer.send_many(topic, pairs)
            waiting.append((deliveries, sum(len(flight.line) for flight in chunk)))
            if len(waiting) == CHUNKS_IN_FLIGHT_MAX:
                await acknowledged(*waiting.pop(0), reporter=reporter)
        for deliveries, size_bytes in waiting:
            await acknowledged(deliveries, size_bytes, reporter=reporter)
    reporter.finish({})


def chunks(source: Iterator[Flight]) -> Iterator[list[Flight]]:
    """The flights, some thousands at a time."""
    while chunk := list(islice(source, CHUNK_FLIGHT_COUNT)):
        yield chunk


async def acknowledged(
    deliveries: ottla.Deliveries, size_bytes: int, *, reporter: Reporter
) -> None:
    """Wait until all of them are acknowledged. Raises OttlaError for one that isn't."""
    receipts = await deliveries
    reporter.advance(flight_count=len(receipts), size_bytes=size_bytes)


if __name__ == "__main__":
    _bootstrap, _topic, _archive = sys.argv[1:]
    asyncio.run(publish(_bootstrap, _topic, archive=Path(_archive)))
