"""The reading half of `perf latency`, a process of its own.

Owns the moment of arrival: what the clock says in the body of `async for record in consumer`. Its
plan comes as a line of JSON on standard input, its figures go out as one; see `latency`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import ottla
from ottla.protocol.errors import OttlaError
from ottla_cli.connections.settings import Connection, TlsFiles
from ottla_cli.failures import EXIT_FAILED, EXIT_OK, CommandFailed
from ottla_cli.perf.latency import LINE_BYTES_MAX
from ottla_cli.perf.probe import Arrivals
from ottla_cli.reading import TopicReader
from ottla_cli.records.positions import Start
from ottla_cli.running import first_failure
from ottla_cli.session import consumer_of
from ottla_cli.terminal import Output, silence_stdout


def connection_of(document: dict[str, Any]) -> Connection:
    """The connection in a plan."""
    tls = document["tls"]
    return Connection(
        bootstrap=document["bootstrap"],
        tls=None if tls is None else TlsFiles(**tls),
        timeout_seconds=document["timeout_seconds"],
        output=Output(document["output"]),
    )


async def _run() -> None:
    stdin = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin.buffer)
    plan = json.loads(await stdin.readline())
    connection = connection_of(plan["connection"])
    arrivals = Arrivals(
        bytes.fromhex(plan["run_id"]),
        warmup_count=plan["warmup_count"],
        record_count=plan["record_count"],
    )
    async with consumer_of(connection) as consumer:
        await TopicReader(consumer, connection, until_end=False).begin(plan["topic"], (), Start())
        _say({"ready": True})
        if await _all_read(consumer, arrivals, stdin, drain_seconds=connection.timeout_seconds):
            _say(
                {
                    "latencies": arrivals.latencies.to_document(),
                    "missing_count": plan["record_count"] - arrivals.distinct_count,
                    "duplicate_count": arrivals.duplicate_count,
                }
            )


async def _all_read(
    consumer: ottla.Consumer[bytes, bytes],
    arrivals: Arrivals,
    stdin: asyncio.StreamReader,
    *,
    drain_seconds: float,
) -> bool:
    """Read until all is there, or missing for too long; False if nobody wants to know any more."""
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(consumer, arrivals), name="latency-read")
        if not await stdin.readline():
            reading.cancel()
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await asyncio.wait([reading])
        reading.cancel()
    return True


async def _read(consumer: ottla.Consumer[bytes, bytes], arrivals: Arrivals) -> None:
    async for record in consumer:
        arrivals.take(record.value, time.monotonic_ns())
        if arrivals.is_complete:
            return


def _say(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run, and say what failed; nothing, once nobody listens any more."""
    try:
        return _run_and_report()
    except BrokenPipeError:
        silence_stdout()
        return EXIT_FAILED


def _run_and_report() -> int:
    try:
        asyncio.run(_run())
    except (CommandFailed, OttlaError, ExceptionGroup) as error:
        failure = first_failure(error)
        _say({"failed": str(failure), "code": failure.code, "hint": failure.hint})
        return failure.code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
