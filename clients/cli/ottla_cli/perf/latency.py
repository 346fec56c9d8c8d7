"""The way of a record from when it was due to an application that reads it.

    this process                                          a second one (`latency_reader`)
    plan ──────────────────────── stdin ────────────────► assign, seek to the end
         ◄─────────────────────── "ready" ───────────────
    send on schedule ──► broker ──► records ────────────► time of arrival − time due
    "sent" ────────────────────── stdin ────────────────► all there, or some are missing
         ◄─────────────────────── figures ───────────────

Owns the run and its report. Producer and consumer are two processes, as they are in life: in one
event loop each would wait for the other's work, and the figure would be of that. The clock is the
machine's monotonic one, which is the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from ottla_cli.connections.settings import Connection
from ottla_cli.failures import EXIT_FAILED, CommandFailed
from ottla_cli.perf.arrangements import Place, topic_for_run
from ottla_cli.perf.latencies import Latencies
from ottla_cli.perf.open_loop import OpenLoop
from ottla_cli.perf.probe import Probe
from ottla_cli.perf.report import Report
from ottla_cli.perf.sending import Batching
from ottla_cli.progress import shown_progress

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
# Time for both processes to have nothing else to do when the first record is due.
_LEAD_NS: Final = 200_000_000
LINE_BYTES_MAX: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class LatencyLoad:
    """What to send.

    Attributes:
        rate: records a second.
        seconds: how long, after the warm-up.
        warmup_seconds: how long before anything counts.
        size_bytes: of each value.
    """

    rate: float
    seconds: float
    warmup_seconds: float
    size_bytes: int

    @property
    def warmup_count(self) -> int:
        """Records that do not count."""
        return round(self.rate * self.warmup_seconds)

    @property
    def record_count(self) -> int:
        """All records."""
        return self.warmup_count + max(1, round(self.rate * self.seconds))


async def measure_latency(
    connection: Connection,
    place: Place,
    load: LatencyLoad,
    batching: Batching,
) -> Report:
    """Send on schedule, read in another process, and report the latencies.

    Raises:
        CommandFailed: records did not arrive, or the reading process failed.
        OttlaError: a record could not be delivered, or the topic cannot be made.
    """
    run_id = secrets.token_bytes(8)
    async with topic_for_run(connection, place) as name:
        plan = {
            "connection": {**asdict(connection), "output": connection.output.value},
            "topic": name,
            "run_id": run_id.hex(),
            "warmup_count": load.warmup_count,
            "record_count": load.record_count,
        }
        async with _reader(plan) as reader:
            lateness = await _send(connection, name, load, batching, run_id)
            figures = await reader.figures()
    if figures["missing_count"]:
        raise CommandFailed(
            f"{figures['missing_count']} of {load.record_count} records did not arrive within"
            f" {connection.timeout_seconds:g} s"
        )
    latencies = Latencies.from_document(figures["latencies"])
    settings = {
        "size": load.size_bytes,
        "throughput": load.rate,
        "warmup_seconds": load.warmup_seconds,
        "duplicates": figures["duplicate_count"],
        **batching.described(),
        **place.described(),
    }
    return Report(
        kind="latency",
        topic=name,
        record_count=latencies.count,
        size_bytes=latencies.count * load.size_bytes,
        seconds=load.seconds,
        latency_of="schedule to user code",
        latencies=latencies,
        settings=settings,
        extra={"schedule to send": lateness},
    )


async def _send(
    connection: Connection, topic: str, load: LatencyLoad, batching: Batching, run_id: bytes
) -> Latencies:
    """Send every record when it is due; returns how late we were ourselves."""
    lateness = Latencies()
    async with batching.producer(connection) as producer:
        total = load.record_count
        with shown_progress("latency", bytes_total=None, records_total=total) as advance:
            schedule = OpenLoop(load.rate, started_ns=time.monotonic_ns() + _LEAD_NS)
            sent_count = 0
            while sent_count < total:
                now_ns = time.monotonic_ns()
                due_count = min(total, schedule.due_count(now_ns))
                if due_count == sent_count:
                    await asyncio.sleep((schedule.time_ns(sent_count) - now_ns) / 1e9)
                    continue
                for index in range(sent_count, due_count):
                    due_ns = schedule.time_ns(index)
                    if index >= load.warmup_count:
                        lateness.add((time.monotonic_ns() - due_ns) // 1_000)
                    value = Probe(run_id, index, due_ns).value(load.size_bytes)
                    _ = await producer.send(topic, value)
                advance(due_count - sent_count, (due_count - sent_count) * load.size_bytes)
                sent_count = due_count
        await producer.flush()
    return lateness


class _Reader:
    """The reading process; talked to a line at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    async def say(self, document: object) -> None:
        self._stdin.write(json.dumps(document).encode() + b"\n")
        await self._stdin.drain()

    async def heard(self) -> dict[str, Any]:
        """What it says next. Raises CommandFailed, also for what it failed with."""
        line = await self._stdout.readline()
        if not line:
            code = await self._process.wait()
            raise CommandFailed(f"the reading process ended with {code}")
        document: dict[str, Any] = json.loads(line)
        if "failed" in document:
            raise CommandFailed(
                str(document["failed"]),
                code=int(document.get("code", EXIT_FAILED)),
                hint=str(document.get("hint", "")),
            )
        return document

    async def figures(self) -> dict[str, Any]:
        """What it measured, once everything was sent."""
        await self.say({"sent": True})
        return await self.heard()


@contextlib.asynccontextmanager
async def _reader(plan: dict[str, Any]) -> AsyncIterator[_Reader]:
    """Runs the reading process for the block, ready when the block begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ottla_cli.perf.latency_reader"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        # Ctrl-C is for us alone; it ends when we close its input.
        process_group=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    reader = _Reader(process)
    try:
        try:
            async with asyncio.timeout(_START_SECONDS):
                await reader.say(plan)
                await reader.heard()
        except TimeoutError:
            raise CommandFailed("the reading process was not ready in time") from None
        yield reader
    finally:
        await _stopped(process)


async def _stopped(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
