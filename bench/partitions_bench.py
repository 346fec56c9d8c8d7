"""A broker with a thousand partitions: what it costs at rest, how soon it is back after SIGKILL.

Owns the rows on many partitions, on the broker as it is deployed: `ottla up`, thin stubs. Ready
means that every partition answers for its end, which only its leader does; the ends are held
against what was acknowledged, for a start that is fast and forgets would be worth nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench.measures import Measure, progress
from bench.processes import cpu_seconds
from demo.platform import OTTLA, run_ottla
from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2

PARTITIONS: Final = 1_000
IDLE_NAME: Final = "broker: CPU at rest, {} partitions"
READY_NAME: Final = "broker: from SIGKILL under load to all of {} partitions led"
CREATED_NAME: Final = "broker: a topic of {} partitions, created and led"
_IDLE_PERCENT_MAX: Final = 1.0
_READY_SECONDS_MAX: Final = 10.0
_TOPIC: Final = "many"
_RECORD_SIZE: Final = 1_024
_CALL_RECORD_COUNT: Final = 512
_CALLS_IN_FLIGHT: Final = 8
_SETTLE_SECONDS: Final = 15.0
"""Until the writes have been flushed and their indexes written; idle begins after that."""
_IDLE_SECONDS: Final = 61.0
"""Longer than the longest interval by which a broker looks at all of its partitions."""
_WAIT_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1
"""Between two looks at partitions that have no leader yet: nothing tells when they do."""
_QUERIES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Up:
    """A running `ottla up`."""

    bootstrap: str
    broker_pid: int
    started_at: float
    process: subprocess.Popen[str]


def run(*, only: str = "") -> list[Measure]:
    """Every row whose name contains `only`."""
    rows = []
    if only in (name := IDLE_NAME.format(PARTITIONS)):
        percent = idle_cpu_percent()
        rows.append(Measure(name, percent, "%", _IDLE_PERCENT_MAX, f"over {_IDLE_SECONDS:.0f} s"))
    if only in (name := READY_NAME.format(PARTITIONS)):
        seconds = ready_after_kill_seconds()
        detail = f"{_CALL_RECORD_COUNT} KiB or more in each"
        rows.append(Measure(name, seconds, "s", _READY_SECONDS_MAX, detail))
    if only in (name := CREATED_NAME.format(PARTITIONS)):
        rows.append(Measure(name, topic_created_seconds(), "s", None, "until each has a leader"))
    return rows


def idle_cpu_percent(partitions: int = PARTITIONS) -> float:
    """CPU time of a broker that nobody talks to, in percent of one core."""
    with tempfile.TemporaryDirectory(prefix="ottla-bench-") as data, _running(data) as up:
        with grpc.insecure_channel(up.bootstrap) as channel:
            _create(up, channel, partitions)
            _Writer(channel, partitions).write(partitions)
        progress("letting it come to rest")
        time.sleep(_SETTLE_SECONDS)
        cpu, clock = cpu_seconds(up.broker_pid), time.monotonic()
        time.sleep(_IDLE_SECONDS)
        return 100 * (cpu_seconds(up.broker_pid) - cpu) / (time.monotonic() - clock)


def topic_created_seconds(partitions: int = PARTITIONS) -> float:
    """From `ottla topics create` until every partition has a leader that answers."""
    with (
        tempfile.TemporaryDirectory(prefix="ottla-bench-") as data,
        _running(data) as up,
        grpc.insecure_channel(up.bootstrap) as channel,
    ):
        return _create(up, channel, partitions)


def ready_after_kill_seconds(partitions: int = PARTITIONS) -> float:
    """From a new `ottla up` after SIGKILL of a broker at full rate until all partitions answer.

    Raises RuntimeError if a partition has lost what was acknowledged.
    """
    with tempfile.TemporaryDirectory(prefix="ottla-bench-") as data:
        with _running(data) as up, grpc.insecure_channel(up.bootstrap) as channel:
            _create(up, channel, partitions)
            writer = _Writer(channel, partitions)
            writer.write(partitions)
            progress("killing the broker while it is written to")
            writer.write_until(lambda: os.kill(up.broker_pid, signal.SIGKILL))
            up.process.wait(_WAIT_SECONDS)
        with _running(data) as up, grpc.insecure_channel(up.bootstrap) as channel:
            ends = _await_ends(channel, partitions)
            seconds = time.monotonic() - up.started_at
        for partition, count in writer.acknowledged.items():
            if ends[partition] < count:
                message = f"partition {partition} ends at {ends[partition]}, {count} were taken"
                raise RuntimeError(message)
        return seconds


@contextlib.contextmanager
def _running(data: str) -> Iterator[_Up]:
    """`ottla up` on a data directory; what runs is stopped, what was killed is forgotten."""
    command = [OTTLA, "up", "--data", data, "--port", "0", "--output", "json"]
    command += ["--die-with-parent", f"--parent-process-id={os.getpid()}"]
    started_at = time.monotonic()
    with (Path(data) / "up.err").open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        facts = _first_object(process.stdout)
        progress(f"up after {time.monotonic() - started_at:.1f} s")
        yield _Up(facts["bootstrap"], facts["broker"]["process_id"], started_at, process)
    finally:
        process.terminate()
        process.wait(_WAIT_SECONDS)


def _first_object(lines: Iterable[str]) -> dict[str, Any]:
    """The JSON object that `ottla up` prints, over several lines, once it is up."""
    said = ""
    for line in lines:
        said += line
        if line.startswith("}"):
            facts: dict[str, Any] = json.loads(said)
            return facts
    raise RuntimeError("`ottla up` ended before it was up")


def _create(up: _Up, channel: grpc.Channel, partitions: int) -> float:
    """Make the topic; returns the seconds until every partition was led."""
    begun_at = time.monotonic()
    run_ottla(up.bootstrap, "topics", "create", _TOPIC, "--partitions", str(partitions))
    progress(f"created after {time.monotonic() - begun_at:.1f} s")
    _await_ends(channel, partitions)
    seconds = time.monotonic() - begun_at
    progress(f"led after {seconds:.1f} s")
    return seconds


def _await_ends(channel: grpc.Channel, partitions: int) -> list[int]:
    """The end of every partition, once all have a leader that tells it."""
    deadline = time.monotonic() + _WAIT_SECONDS
    stub = fetch_pb2_grpc.FetchServiceStub(channel)
    while True:
        results = [
            result
            for first in range(0, partitions, _QUERIES_MAX)
            for result in _ends(stub, first, min(first + _QUERIES_MAX, partitions))
        ]
        missing = [result for result in results if not result.HasField("offset")]
        if results and not missing:
            return [result.offset for result in results]
        if time.monotonic() > deadline:
            why = missing[0].error.message if missing else "nothing answers"
            raise RuntimeError(f"{len(missing)} partitions have no leader: {why}")
        time.sleep(_LOOK_SECONDS)


def _ends(stub: Any, first: int, last: int) -> list[Any]:
    queries = [
        fetch_pb2.OffsetQuery(
            topic=_TOPIC, partition=partition, position=fetch_pb2.OFFSET_POSITION_LATEST
        )
        for partition in range(first, last)
    ]
    request = fetch_pb2.ListOffsetsRequest(queries=queries)
    return list(stub.ListOffsets(request, timeout=_WAIT_SECONDS).results)


class _Writer:
    """Publishes to all partitions in turn, some calls in flight, and counts what was taken."""

    def __init__(self, channel: grpc.Channel, partitions: int) -> None:
        self._call: Any = channel.unary_unary(
            "/ottla.api.produce.v1.ProduceService/Publish",
            request_serializer=None,
            response_deserializer=produce_pb2.PublishResponse.FromString,
        )
        record = record_pb2.PlainRecord(value=os.urandom(_RECORD_SIZE))
        self._records = produce_pb2.PublishRequest(
            topic=_TOPIC, records=[record] * _CALL_RECORD_COUNT
        ).SerializeToString()
        self._partitions = partitions
        self._sent_count = 0
        self._flying: deque[tuple[int, Any]] = deque()
        self.acknowledged: Counter[int] = Counter()

    def write(self, count: int) -> None:
        """That many calls, one for each partition in turn, and all their answers."""
        begun_at = time.monotonic()
        for _ in range(count):
            self._send()
        while self._flying:
            self._take()
        size = count * _CALL_RECORD_COUNT * _RECORD_SIZE
        progress(f"wrote {size / 1e6 / (time.monotonic() - begun_at):.0f} MB/s")

    def write_until(self, kill: Callable[[], None], *, seconds: float = 2.0) -> None:
        """Write on until the broker, killed after some seconds, answers no more."""
        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            while True:
                self._send()
        except grpc.RpcError:
            self._flying.clear()
        finally:
            timer.join()

    def _send(self) -> None:
        if len(self._flying) == _CALLS_IN_FLIGHT:
            self._take()
        partition = self._sent_count % self._partitions
        # Messages concatenate: the partition's field after the records.
        tail = produce_pb2.PublishRequest(partition=partition).SerializeToString()
        self._flying.append((partition, self._call.future(self._records + tail)))
        self._sent_count += 1

    def _take(self) -> None:
        partition, call = self._flying.popleft()
        for result in call.result().results:
            if result.HasField("error"):
                raise RuntimeError(result.error.message)
        self.acknowledged[partition] += _CALL_RECORD_COUNT
