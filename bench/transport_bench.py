"""The gRPC server against `grpc.aio`: CPU of the server process for the same work.

Both contestants run the same servicers in processes of their own, on uvloop, and stay up for the
whole run; clients are other processes. Each piece of work is done by each contestant in turn,
alternating who goes first, after one round that is not counted; medians are compared. CPU is
quoted, not time: clients are often the slower side.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.toolchains import MissingToolchain, StockClient, node_client

from bench.measures import Measure, progress
from bench.processes import cpu_seconds, peak_growth_bytes, result_of, running
from bench.transport_server import MESSAGE_BYTES, SERVICE, SINK_BYTES

KINDS = ("ours", "grpc")
ROUNDS = 3
_SOURCE_BYTES = 256 * MESSAGE_BYTES
_CLIENT_SECONDS = 300.0
_MEMORY_MESSAGES = 2048
_MEMORY_GROWTH_MIB_MAX = 64.0
# What the small client is held to, when it is grpcio: frames of 16 KiB, a window of 64 KiB.
_SMALL_OPTIONS = (
    "grpc.http2.max_frame_size=16384",
    "grpc.http2.lookahead_bytes=65535",
    "grpc.http2.bdp_probe=0",
)


@dataclass(frozen=True, slots=True)
class Work:
    """One row's work: what the client does, and the ratio allowed."""

    name: str
    method: str
    count: int
    size: int
    in_flight: int
    floor: float | None
    options: Sequence[str] = field(default=())
    node: StockClient | None = None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that is up."""

    kind: str
    pid: int
    port: int


def works(*, only: str) -> list[Work]:
    """The work of the rows whose name contains `only`."""
    every = [
        Work("stream out, 1 MiB from a file", "fetch", 1024, MESSAGE_BYTES, 1, 0.5),
        Work("stream in, 1 MiB to a file", "produce", 512, MESSAGE_BYTES, 4, 0.5),
        Work("stream in, 64 KiB to a file", "produce", 6000, 64 * 1024, 16, 0.5),
        Work("100 B messages, 64 in flight", "acknowledge", 20_000, 100, 64, 0.5),
        Work("unary calls of 100 B, 16 in flight", "unary", 4000, 100, 16, None),
        _small_frames_work(),
    ]
    return [work for work in every if only in work.name]


def _small_frames_work() -> Work:
    size = MESSAGE_BYTES
    try:
        node = node_client()
    except MissingToolchain as missing:
        name = f"16 KiB frames, 64 KiB window (grpcio: {missing})"
        return Work(name, "fetch", 256, size, 1, 1.1, options=_SMALL_OPTIONS)
    return Work("16 KiB frames, 64 KiB window (grpc-js)", "fetch", 256, size, 1, 1.1, node=node)


def run(*, rounds: int = ROUNDS, only: str = "") -> list[Measure]:
    """Every row whose name contains `only`."""
    asked = works(only=only)
    if not asked and only not in _MEMORY_NAME:
        return []
    with ExitStack() as life:
        folder = Path(life.enter_context(tempfile.TemporaryDirectory(prefix="ottla-bench-")))
        contestants = [life.enter_context(_contestant(kind, folder)) for kind in KINDS]
        measures = [_compared(work, contestants, rounds) for work in asked]
        if only in _MEMORY_NAME:
            measures.append(_memory_growth(contestants[0]))
    return measures


@contextmanager
def _contestant(kind: str, folder: Path) -> Iterator[Contestant]:
    source, sink = folder / "source", folder / f"sink-{kind}"
    for path, size in ((source, _SOURCE_BYTES), (sink, SINK_BYTES)):
        if not path.exists():
            _fill(path, size)
    with running("bench.transport_server", [kind, str(source), str(sink)]) as (pid, ready):
        yield Contestant(kind, pid, ready["port"])


def _fill(path: Path, size: int) -> None:
    """Write the file out, so that no contestant pays for its first pages."""
    block = bytes(range(256)) * (MESSAGE_BYTES // 256)
    with path.open("wb") as file:
        for _ in range(size // MESSAGE_BYTES):
            file.write(block)


def _compared(work: Work, contestants: Sequence[Contestant], rounds: int) -> Measure:
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    said: dict[str, dict[str, Any]] = {}
    for number in range(rounds + 1):
        order = contestants if number % 2 else contestants[::-1]
        for contestant in order:
            before = cpu_seconds(contestant.pid)
            said[contestant.kind] = _client(work, contestant, warming=number == 0)
            seconds = cpu_seconds(contestant.pid) - before
            if number:
                spent[contestant.kind].append(seconds)
                progress(f"{work.name}: {contestant.kind} {seconds:.2f} s CPU")
    ours, theirs = (statistics.median(spent[kind]) for kind in KINDS)
    detail = "; ".join(
        f"{kind} {_cost(median, work)}, {_said(said[kind])}"
        for kind, median in zip(KINDS, (ours, theirs), strict=True)
    )
    return Measure(work.name, ours / theirs, "x CPU", work.floor, detail)


def _client(work: Work, contestant: Contestant, *, warming: bool) -> dict[str, Any]:
    count = max(work.count // 8, 1) if warming else work.count
    if work.node is None:
        command = [sys.executable, "-m", "bench.transport_client", str(contestant.port)]
        command += [work.method, str(count), str(work.size), str(work.in_flight), *work.options]
        return result_of(command, timeout_seconds=_CLIENT_SECONDS)
    variables = {
        **work.node.variables,
        "FETCH_COUNT": str(count),
        "FETCH_PATH": f"/{SERVICE}/Fetch",
    }
    command = [*work.node.command, f"127.0.0.1:{contestant.port}", "bench_fetch"]
    result = result_of(command, timeout_seconds=_CLIENT_SECONDS, **variables)
    if result["received"] != count or result["code"] != 0:
        raise ValueError(f"the client received {result}")
    return result


def _cost(seconds: float, work: Work) -> str:
    return f"{seconds / work.count * 1e6:.0f} us a message"


def _said(result: dict[str, Any]) -> str:
    rate = f"{result['mib_per_s']:.0f} MiB/s"
    return f"{rate}, p50 {result['p50_us']} us" if "p50_us" in result else rate


_MEMORY_NAME = "server: memory grown by reading 2 GiB"


def _memory_growth(contestant: Contestant) -> Measure:
    """The most our server's memory grew while 2 GiB were read from it."""
    with peak_growth_bytes(contestant.pid) as growth:
        work = Work("", "fetch", _MEMORY_MESSAGES, MESSAGE_BYTES, 1, None)
        said = _client(work, contestant, warming=False)
    return Measure(_MEMORY_NAME, growth() / 2**20, "MiB", _MEMORY_GROWTH_MIB_MAX, _said(said))
