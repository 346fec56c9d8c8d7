"""The client library at full rate against the broker as it is deployed: `ottla up`, one partition.

Producer and consumer are processes of their own and run one after the other, each with the
library's defaults: acks=all, linger 5 ms, batches of 64 KiB, no compression, checksums verified on
both sides. A topic's default is to flush before it acknowledges; each row that writes stands a
second time for a topic with `flush.on.ack=false`, which is what other brokers do by default.

Owns the rows on throughput, on the broker's CPU a gigabyte, and on latency.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

from bench.measures import Measure, progress
from bench.processes import ROOT, cpu_seconds, result_of
from demo.platform import Platform, run_ottla, running_platform

ROUNDS: Final = 3
_WORKER: Final = (sys.executable, "-m", "bench.client_worker")
_LATENCY_WORKER: Final = (sys.executable, "-m", "bench.latency_worker")
_TIMEOUT_SECONDS: Final = 300.0
_LATENCY_RATE: Final = 500
_LATENCY_COUNT: Final = 5_000
_SIZE_SMALL: Final = "100"
_SIZE_LARGE: Final = "1024"
_SIZE_MIXED: Final = "50-150"
_NOT_FLUSHED: Final = ", flush off"
_numbers: Final = count()


@dataclass(frozen=True, slots=True)
class _Work:
    """One kind of work; floors are least rates and a most of CPU, for the defaults alone."""

    name: str
    kind: str
    size: str
    count: int
    rate_floor: float | None = None
    cpu_name: str | None = None
    cpu_ceiling: float | None = None

    @property
    def in_megabytes(self) -> bool:
        """Whether the rate is told in MB/s rather than in records a second."""
        return self.size == _SIZE_LARGE

    @property
    def mean_size(self) -> float:
        """Bytes of a record's value."""
        return statistics.mean(map(int, self.size.split("-")))


_PRODUCING: Final = (
    _Work("produce 100 B: send()", "send", _SIZE_SMALL, 1_000_000, 250_000),
    _Work("produce 100 B: send_many()", "send_many", _SIZE_SMALL, 2_000_000, 600_000),
    _Work("produce 50 to 150 B: send_many()", "send_many", _SIZE_MIXED, 1_000_000),
    _Work(
        "produce 1 KiB",
        "send_many",
        _SIZE_LARGE,
        500_000,
        150,
        cpu_name="broker: CPU a GB, 1 KiB produced",
        cpu_ceiling=3.0,
    ),
)
_CONSUMING: Final = (
    _Work("consume 100 B: async for", "records", _SIZE_SMALL, 2_000_000, 300_000),
    _Work("consume 100 B: batches()", "batches", _SIZE_SMALL, 2_000_000, 600_000),
    _Work("consume 50 to 150 B: batches()", "batches", _SIZE_MIXED, 1_000_000),
    _Work(
        "consume 1 KiB",
        "batches",
        _SIZE_LARGE,
        500_000,
        400,
        cpu_name="broker: CPU a GB, 1 KiB consumed",
        cpu_ceiling=0.75,
    ),
)
_IDLE_CONSUMER_NAME: Final = "consumer of 1,000 partitions that never reads: memory grown"
_IDLE_CONSUMER_SECONDS: Final = 10
_IDLE_CONSUMER_GROWTH_MIB_MAX: Final = 48.0
"""Its buffer of 16 MiB, what gRPC holds of the same stream, and its books on 1,000 partitions."""
_LATENCY_NAME: Final = "latency, 500 messages/s of 100 B, due to received"
_PERCENTILES: Final[Mapping[str, float | None]] = {"p50": 1.0, "p99": 4.0, "p99.9": None}
"""And the most milliseconds, for a topic that doesn't flush."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run of some work took."""

    rate: float
    client_cpu_us: float
    server_cpu_a_gigabyte: float


@dataclass(frozen=True, slots=True)
class Task:
    """What is done for some rows at once."""

    rows: tuple[str, ...]
    measure: Callable[[Platform, int], Iterable[Measure]]
    """Takes the platform and the number of rounds."""


def run(*, rounds: int = ROUNDS, only: str = "") -> list[Measure]:
    """Every row whose name contains `only`."""
    asked = tasks(only=only)
    if not asked:
        return []
    with running_platform() as platform:
        rows = [row for task in asked for row in task.measure(platform, rounds)]
    return [row for row in rows if only in row.name]


def tasks(*, only: str) -> list[Task]:
    """What has to be done for the rows whose name contains `only`."""
    every = [
        *(_producing(work, flushes=flushes) for work in _PRODUCING for flushes in (True, False)),
        *(_consuming(work) for work in _CONSUMING),
        *(_sending(flushes=flushes) for flushes in (False, True)),
        Task((_IDLE_CONSUMER_NAME,), lambda platform, _: [_idle_consumer(platform)]),
    ]
    return [task for task in every if any(only in row for row in task.rows)]


def _producing(work: _Work, *, flushes: bool) -> Task:
    def measure(platform: Platform, rounds: int) -> Iterable[Measure]:
        runs = _produced(platform, work, flushes=flushes, rounds=rounds)
        return _rows(work, runs, flushes=flushes)

    return Task(_names(work, flushes=flushes), measure)


def _consuming(work: _Work) -> Task:
    def measure(platform: Platform, rounds: int) -> Iterable[Measure]:
        return _rows(work, _consumed(platform, work, rounds=rounds), flushes=True)

    return Task(_names(work, flushes=True), measure)


def _sending(*, flushes: bool) -> Task:
    names = tuple(_latency_name(each, flushes=flushes) for each in _PERCENTILES)
    return Task(names, partial(_latency, flushes=flushes))


def _names(work: _Work, *, flushes: bool) -> tuple[str, ...]:
    """The rows of some work, the rate's first."""
    names = (work.name,) if work.cpu_name is None else (work.name, work.cpu_name)
    return tuple(name + _suffix(flushes=flushes) for name in names)


def _latency_name(percentile: str, *, flushes: bool) -> str:
    return f"{_LATENCY_NAME}: {percentile}{_suffix(flushes=flushes)}"


def _suffix(*, flushes: bool) -> str:
    return "" if flushes else _NOT_FLUSHED


def _rows(work: _Work, runs: list[_Run], *, flushes: bool) -> Iterator[Measure]:
    rate_name, *cpu_names = _names(work, flushes=flushes)
    rates = [each.rate for each in runs]
    cpu = statistics.median(each.client_cpu_us for each in runs)
    yield Measure(
        rate_name,
        statistics.median(rates),
        "MB/s" if work.in_megabytes else "/s",
        work.rate_floor if flushes else None,
        f"{min(rates):,.0f} to {max(rates):,.0f}; client {cpu:.2f} us CPU a record",
        more_is_better=True,
    )
    for cpu_name in cpu_names:
        costs = [each.server_cpu_a_gigabyte for each in runs]
        yield Measure(
            cpu_name,
            statistics.median(costs),
            "s CPU",
            work.cpu_ceiling if flushes else None,
            f"{min(costs):.2f} to {max(costs):.2f}",
        )


def _produced(platform: Platform, work: _Work, *, flushes: bool, rounds: int) -> list[_Run]:
    runs = []
    for _ in range(rounds):
        with _topic(platform, flushes=flushes) as topic:
            runs.append(_timed(platform, work, topic))
    return runs


def _consumed(platform: Platform, work: _Work, *, rounds: int) -> list[_Run]:
    with _topic(platform, flushes=False) as topic:
        filling = _Work("", "send_many", work.size, work.count)
        _timed(platform, filling, topic)
        return [_timed(platform, work, topic) for _ in range(rounds)]


def _timed(platform: Platform, work: _Work, topic: str) -> _Run:
    if work.name:
        progress(f"{work.name}, {topic}")
    pid = platform.services["ottla_broker"]
    arguments = (work.kind, platform.bootstrap, topic, str(work.count), work.size)
    cpu = cpu_seconds(pid)
    result = result_of((*_WORKER, *arguments), timeout_seconds=_TIMEOUT_SECONDS)
    gigabytes = work.count * work.mean_size / 1e9
    amount = gigabytes * 1_000 if work.in_megabytes else work.count
    return _Run(
        rate=amount / result["seconds"],
        client_cpu_us=result["cpu_seconds"] / work.count * 1e6,
        server_cpu_a_gigabyte=(cpu_seconds(pid) - cpu) / gigabytes,
    )


def _latency(platform: Platform, rounds: int, *, flushes: bool) -> Iterator[Measure]:
    found = []
    for _ in range(rounds):
        with _topic(platform, flushes=flushes) as topic:
            progress(f"{_LATENCY_NAME}, {topic}")
            found.append(_latencies(platform, topic))
    for percentile, ceiling in _PERCENTILES.items():
        values = [each[f"{percentile}_ms"] for each in found]
        yield Measure(
            _latency_name(percentile, flushes=flushes),
            statistics.median(values),
            "ms",
            None if flushes else ceiling,
            f"{min(values):.2f} to {max(values):.2f}",
        )


def _latencies(platform: Platform, topic: str) -> dict[str, Any]:
    arguments = (platform.bootstrap, topic, str(_LATENCY_COUNT), _SIZE_SMALL, str(_LATENCY_RATE))
    with subprocess.Popen([*_LATENCY_WORKER, "send", *arguments], cwd=ROOT) as sender:
        try:
            return result_of(
                (*_LATENCY_WORKER, "receive", *arguments), timeout_seconds=_TIMEOUT_SECONDS
            )
        finally:
            sender.terminate()


def _idle_consumer(platform: Platform) -> Measure:
    with _topic(platform, flushes=False, partitions=1_000) as topic:
        progress(f"{_IDLE_CONSUMER_NAME}, {topic}")
        filling = ("send", platform.bootstrap, topic, "300000", _SIZE_LARGE)
        result_of((*_WORKER, *filling), timeout_seconds=_TIMEOUT_SECONDS)
        words = ("bench.memory_worker", platform.bootstrap, topic, str(_IDLE_CONSUMER_SECONDS))
        result = result_of((sys.executable, "-m", *words), timeout_seconds=_TIMEOUT_SECONDS)
    return Measure(
        _IDLE_CONSUMER_NAME,
        result["growth_bytes"] / 2**20,
        "MiB",
        _IDLE_CONSUMER_GROWTH_MIB_MAX,
        f"300 MB were waiting, for {_IDLE_CONSUMER_SECONDS} s",
    )


@contextlib.contextmanager
def _topic(platform: Platform, *, flushes: bool, partitions: int = 1) -> Iterator[str]:
    """A topic for one run, deleted afterwards: what one wrote is not in the next one's way."""
    name = f"bench-{next(_numbers)}"
    run_ottla(
        platform.bootstrap,
        *("topics", "create", name, "--partitions", str(partitions)),
        *("--config", f"flush.on.ack={'true' if flushes else 'false'}"),
    )
    yield name
    run_ottla(platform.bootstrap, "topics", "delete", name, "--yes")
