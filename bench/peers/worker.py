"""One client process of a comparison: does one kind of work with one peer and prints what it took.

    python -m bench.peers.worker PEER create|produce|consume|send|receive PORT TOPIC COUNT SIZE

`send` and `receive` are the halves of a latency measurement: an open loop of 500 messages a second,
each of which carries the time at which it was due.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import struct
import sys
import time
from collections.abc import AsyncIterator
from itertools import cycle, islice
from typing import Any, Final

from bench.latency_worker import schedule

RATE: Final = 500
_WARM_UP_COUNT: Final = 2 * RATE
_STAMP: Final = struct.Struct("<q")


def _values(size: int, count: int) -> Any:
    chance = random.Random(7)
    return islice(cycle([chance.randbytes(size) for _ in range(1_000)]), count)


async def _stamped(count: int, size: int) -> AsyncIterator[bytes]:
    padding = bytes(size - _STAMP.size)
    async for due in schedule(count + _WARM_UP_COUNT, RATE):
        yield _STAMP.pack(due) + padding


async def _latencies(values: AsyncIterator[bytes], count: int) -> dict[str, float]:
    taken: list[float] = []
    async for value in values:
        taken.append((time.monotonic_ns() - _STAMP.unpack_from(value)[0]) / 1e6)
        if len(taken) == count + _WARM_UP_COUNT:
            break
    kept = sorted(taken[_WARM_UP_COUNT:])
    return {f"p{share}_ms": kept[count * share // 100] for share in (50, 99)}


async def _done(peer: Any, kind: str, port: int, topic: str, *, count: int, size: int) -> Any:
    match kind:
        case "create":
            return await peer.create(port, topic)
        case "produce":
            return {"seconds": await peer.produce(port, topic, _values(size, count))}
        case "consume":
            return {"seconds": await peer.consume(port, topic, count)}
        case "send":
            return await peer.send(port, topic, _stamped(count, size))
        case _:
            return await _latencies(peer.receive(port, topic), count)


def main() -> None:
    """Do what the command line says."""
    peer, kind, port, topic, count, size = sys.argv[1:]
    module = importlib.import_module(f"bench.peers.{peer}_client")
    work = _done(module, kind, int(port), topic, count=int(count), size=int(size))
    sys.stdout.write(json.dumps(asyncio.run(work)) + "\n")


if __name__ == "__main__":
    main()
