"""Half of a latency measurement: one process sends by a schedule, another notes when records come.

    python -m bench.latency_worker send|receive BOOTSTRAP TOPIC COUNT SIZE RATE

Open loop: the n-th record is due n/RATE seconds after the first, whatever became of those before,
and its latency counts from when it was due, not from when it could be sent (coordinated omission,
Gil Tene). Both processes read the machine's monotonic clock; the record carries the time.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from collections.abc import AsyncIterator

import ottla
from bench.kernel_timer import KernelTimer

_STAMP = struct.Struct("<q")
_WARM_UP_SECONDS = 2
_NANOSECONDS = 1_000_000_000


async def _send(bootstrap: str, topic: str, count: int, *, size: int, rate: int) -> None:
    padding = bytes(size - _STAMP.size)
    async with ottla.Producer(bootstrap) as producer:
        _ = await producer.send(topic, _STAMP.pack(0) + padding)
        await producer.flush()
        async for due in schedule(count + rate * _WARM_UP_SECONDS, rate):
            _ = await producer.send(topic, _STAMP.pack(due) + padding)


async def schedule(count: int, rate: int) -> AsyncIterator[int]:
    """Yield each time that is due, in ns, when it is: the event loop's timers are 1 ms coarse."""
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()
    with KernelTimer() as timer:
        loop.add_reader(timer.fileno(), rung.set)
        began = time.monotonic_ns()
        for number in range(count):
            due = began + number * _NANOSECONDS // rate
            if due > time.monotonic_ns():
                rung.clear()
                timer.ring_at(due)
                await rung.wait()
                timer.acknowledge()
            yield due
        loop.remove_reader(timer.fileno())


async def _receive(bootstrap: str, topic: str, count: int, rate: int) -> dict[str, float]:
    latencies: list[int] = []
    async with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        await anext(consumer)
        async for record in consumer:
            now = time.monotonic_ns()
            latencies.append(now - _STAMP.unpack_from(record.value or b"")[0])
            if len(latencies) == count + rate * _WARM_UP_SECONDS:
                break
    kept = sorted(latencies[rate * _WARM_UP_SECONDS :])
    return {
        f"p{share:g}_ms": kept[min(count - 1, int(count * share / 100))] / 1_000_000
        for share in (50, 90, 99, 99.9, 100)
    }


async def main() -> None:
    """Do what the command line says."""
    kind, bootstrap, topic, count, size, rate = sys.argv[1:]
    if kind == "send":
        await _send(bootstrap, topic, int(count), size=int(size), rate=int(rate))
    else:
        result = await _receive(bootstrap, topic, int(count), int(rate))
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
