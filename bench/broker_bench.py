"""The broker as it is deployed: `ottla up`, thin stubs, 2 GiB of records in and out again.

Owns the rows on the whole broker: how far reading more than memory should hold lets it grow, and
what a gigabyte costs it in CPU, in through `Publish` and out through `Read`. No alternative runs
beside it: a thin client's RPCs have none yet.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from bench.measures import Measure, progress
from bench.processes import cpu_seconds, peak_growth_bytes
from demo.platform import run_ottla, running_platform
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2

MEMORY_NAME = "broker: memory grown by reading 2 GiB"
PUBLISH_NAME = "broker: CPU a GB, 1 KiB records through Publish"
READ_NAME = "broker: CPU a GB, the same through Read, as batches"
_MEMORY_GROWTH_MIB_MAX = 64.0
_TOPIC = "bench"
_RECORD_SIZE = 1024
_CALL_RECORD_COUNT = 1000
_TOTAL_SIZE = 2 << 30
_CALLS_IN_FLIGHT = 4
_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class _Spent:
    """What moving `size` bytes took."""

    size: int
    seconds: float
    cpu_seconds: float

    def detail(self) -> str:
        return f"{self.size / 1e6 / self.seconds:.0f} MB/s"


def run(*, only: str = "") -> list[Measure]:
    """Every row whose name contains `only`; all of them come from one pass."""
    names = (PUBLISH_NAME, READ_NAME, MEMORY_NAME)
    if not any(only in name for name in names):
        return []
    with running_platform() as platform, grpc.insecure_channel(platform.bootstrap) as channel:
        run_ottla(platform.bootstrap, "topics", "create", _TOPIC)
        pid = platform.services["ottla_broker"]
        progress("publishing 2 GiB")
        published = _timed(pid, lambda: _publish(channel))
        progress("reading them back")
        with peak_growth_bytes(pid) as growth:
            read = _timed(pid, lambda: _read(channel))
    rows = [
        _cost(PUBLISH_NAME, published),
        _cost(READ_NAME, read),
        Measure(MEMORY_NAME, growth() / 2**20, "MiB", _MEMORY_GROWTH_MIB_MAX, read.detail()),
    ]
    return [row for row in rows if only in row.name]


def _cost(name: str, spent: _Spent) -> Measure:
    return Measure(
        name, spent.cpu_seconds / (spent.size / _GIGABYTE), "s CPU", None, spent.detail()
    )


def _timed(pid: int, work: Callable[[], int]) -> _Spent:
    cpu, clock = cpu_seconds(pid), time.monotonic()
    size = work()
    return _Spent(size, time.monotonic() - clock, cpu_seconds(pid) - cpu)


def _publish(channel: grpc.Channel) -> int:
    """Publish until the total is reached, a few calls in flight; returns bytes of values."""
    call: Any = channel.unary_unary(
        "/ottla.api.produce.v1.ProduceService/Publish",
        request_serializer=None,
        response_deserializer=produce_pb2.PublishResponse.FromString,
    )
    record = record_pb2.PlainRecord(value=os.urandom(_RECORD_SIZE))
    request = produce_pb2.PublishRequest(
        topic=_TOPIC, partition=0, records=[record] * _CALL_RECORD_COUNT
    ).SerializeToString()
    size = _RECORD_SIZE * _CALL_RECORD_COUNT
    flying: deque[Any] = deque()
    for _ in range(_TOTAL_SIZE // size + 1):
        if len(flying) == _CALLS_IN_FLIGHT:
            _check(flying.popleft().result())
        flying.append(call.future(request))
    while flying:
        _check(flying.popleft().result())
    return (_TOTAL_SIZE // size + 1) * size


def _check(response: produce_pb2.PublishResponse) -> None:
    for result in response.results:
        if result.HasField("error"):
            raise RuntimeError(result.error.message)


def _read(channel: grpc.Channel) -> int:
    """Read everything as batches, unparsed; returns bytes of messages."""
    call: Any = channel.unary_stream(
        "/ottla.api.fetch.v1.FetchService/Read",
        request_serializer=fetch_pb2.ReadRequest.SerializeToString,
        response_deserializer=None,
    )
    request = fetch_pb2.ReadRequest(
        topic=_TOPIC,
        start=fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST),
        until=fetch_pb2.ReadUntil(high_watermark_at_start=fetch_pb2.HighWatermarkAtStart()),
        format=fetch_pb2.READ_FORMAT_BATCHES,
    )
    size = sum(len(message) for message in call(request))
    if size < _TOTAL_SIZE:
        raise RuntimeError(f"read {size} bytes of {_TOTAL_SIZE}")
    return size
