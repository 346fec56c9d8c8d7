"""The stock grpcio client of the transport benchmark, in a process of its own.

    python -m bench.transport_client PORT WORK COUNT SIZE IN_FLIGHT [OPTION=VALUE ...]

Does one piece of work against a server and prints what it did as JSON: rate and round-trip times.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from bench.transport_server import SERVICE


async def fetch(channel: grpc.aio.Channel, count: int, size: int, _: int) -> dict[str, Any]:
    """Read `count` messages of a stream; `size` is what each must have at least."""
    stub: Any = channel.unary_stream(f"/{SERVICE}/Fetch")
    call = stub(b"%d" % count)
    received = 0
    async for message in call:
        if len(message) < size:
            raise ValueError(f"message {received} has {len(message)} bytes, not {size}")
        received += 1
    if received != count:
        raise ValueError(f"{received} messages arrived, not {count}")
    return {}


def streaming(method: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    """The work of sending messages on one stream with `in_flight` unanswered ones."""

    async def stream(
        channel: grpc.aio.Channel, count: int, size: int, in_flight: int
    ) -> dict[str, Any]:
        call: Any = channel.stream_stream(f"/{SERVICE}/{method}")()
        room = asyncio.Semaphore(in_flight)
        payload = os.urandom(size)
        sent: list[float] = []
        times: list[float] = []

        async def read() -> None:
            for number in range(count):
                if await call.read() is grpc.aio.EOF:
                    raise ValueError(f"the stream ended after {number} answers")
                times.append(time.perf_counter() - sent[number])
                room.release()

        async with asyncio.TaskGroup() as group:
            group.create_task(read(), name="answers")
            for _ in range(count):
                await room.acquire()
                sent.append(time.perf_counter())
                await call.write(payload)
        await call.done_writing()
        return {"p50_us": round(sorted(times)[count // 2] * 1e6)}

    return stream


async def unary(channel: grpc.aio.Channel, count: int, size: int, in_flight: int) -> dict[str, Any]:
    """Make `count` calls, `in_flight` at a time."""
    stub: Any = channel.unary_unary(f"/{SERVICE}/Call")
    payload = os.urandom(size)
    times: list[float] = []

    async def calls() -> None:
        for _ in range(count // in_flight):
            begun = time.perf_counter()
            await stub(payload)
            times.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as group:
        for number in range(in_flight):
            group.create_task(calls(), name=f"caller {number}")
    return {"p50_us": round(sorted(times)[len(times) // 2] * 1e6)}


WORKS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "fetch": fetch,
    "produce": streaming("Produce"),
    "acknowledge": streaming("Acknowledge"),
    "unary": unary,
}


async def _work(arguments: list[str]) -> dict[str, Any]:
    port, work, count, size, in_flight, *settings = arguments
    options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1)]
    for setting in settings:
        name, _, value = setting.partition("=")
        options.append((name, int(value)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        begun = time.perf_counter()
        result = await WORKS[work](channel, int(count), int(size), int(in_flight))
        seconds = time.perf_counter() - begun
    return {**result, "seconds": seconds, "mib_per_s": int(count) * int(size) / seconds / 2**20}


def main() -> None:
    """Do the work of the command line."""
    sys.stdout.write(json.dumps(asyncio.run(_work(sys.argv[1:]))) + "\n")


if __name__ == "__main__":
    main()
