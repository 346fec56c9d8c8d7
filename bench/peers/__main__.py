"""`python -m bench.peers`: Ottla and what else people use, in turn, on this machine, in one run.

One partition, one producer, one consumer, one after the other, values of one size, no compression;
each client in the way its makers advise. Rounds alternate between the contestants; the median
counts. Where a peer can't run here the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from bench.peers import servers
from bench.peers.servers import PeerMissing, RunningServer
from bench.processes import ROOT, cpu_seconds, result_of
from demo.platform import running_platform

PEERS: Final = ("ottla", "ottla_unflushed", "confluent", "aiokafka", "redis", "nats")
_RESULTS: Final = ROOT / ".cache" / "bench" / "peers.json"
_TIMEOUT_SECONDS: Final = 300.0
_LATENCY_COUNT: Final = 5_000
_WARM_UP_COUNT: Final = 500_000
"""Records through a server before it is measured: a virtual machine compiles as it goes."""
_numbers: Final = count()


@dataclass(frozen=True, slots=True)
class _Work:
    name: str
    size: int
    count: int
    unit: str

    def rate(self, seconds: float) -> float:
        amount = self.count * self.size / 1e6 if self.unit == "MB/s" else self.count
        return amount / seconds


_WORKS: Final = (_Work("100 B", 100, 1_000_000, "/s"), _Work("1 KiB", 1_024, 300_000, "MB/s"))


@dataclass(slots=True)
class _Found:
    """What the rounds of one row found, by contestant."""

    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, peer: str, value: float) -> None:
        self.values.setdefault(peer, []).append(value)

    def median(self, peer: str) -> float | None:
        found = self.values.get(peer)
        return statistics.median(found) if found else None


def main() -> int:
    """Measure, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--only", nargs="*", default=PEERS, choices=PEERS, metavar="PEER")
    arguments = parser.parse_args()
    rows: dict[str, _Found] = {}
    missing: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for peer in arguments.only:
            if peer not in missing:
                try:
                    _round(peer, rows)
                except (PeerMissing, subprocess.CalledProcessError, ImportError) as error:
                    missing[peer] = str(error)
    sys.stdout.write(_table(rows, arguments.only, missing))
    _RESULTS.parent.mkdir(parents=True, exist_ok=True)
    _RESULTS.write_text(json.dumps({name: found.values for name, found in rows.items()}, indent=2))
    return 0


def _round(peer: str, rows: dict[str, _Found]) -> None:
    """Everything once with one contestant, on a server of its own."""
    module = importlib.import_module(f"bench.peers.{peer}_client")
    with _server(module.SERVER) as server:
        _warm_up(peer, server.port)
        for work in _WORKS:
            topic = _topic(peer, server.port)
            for kind in ("produce", "consume"):
                _note(f"{peer}: {kind} {work.name}")
                before = cpu_seconds(server.pid)
                words = (str(server.port), topic, str(work.count), str(work.size))
                seconds = _worker(peer, kind, *words)["seconds"]
                used = cpu_seconds(server.pid) - before
                row = rows.setdefault(f"{kind} {work.name}", _Found(work.unit))
                row.add(peer, work.rate(seconds))
                if work.unit == "MB/s":
                    cost = rows.setdefault(f"server CPU a GB, {kind} {work.name}", _Found("s"))
                    cost.add(peer, used / (work.count * work.size / 1e9))
        _note(f"{peer}: latency")
        for name, value in _latency(peer, server.port, _topic(peer, server.port)).items():
            key = f"due to received, 500/s of 100 B, {name.removesuffix('_ms')}"
            rows.setdefault(key, _Found("ms")).add(peer, value)


@contextlib.contextmanager
def _server(kind: str) -> Iterator[RunningServer]:
    if kind == "ottla":
        with running_platform() as platform:
            port = int(platform.bootstrap.rpartition(":")[2])
            yield RunningServer(port, platform.services["ottla_broker"])
        return
    start: Callable[[], AbstractContextManager[RunningServer]] = getattr(servers, kind)
    with start() as server:
        yield server


def _topic(peer: str, port: int) -> str:
    name = f"bench-{next(_numbers)}"
    _worker(peer, "create", str(port), name, "0", "0")
    return name


def _warm_up(peer: str, port: int) -> None:
    topic = _topic(peer, port)
    for kind in ("produce", "consume"):
        _worker(peer, kind, str(port), topic, str(_WARM_UP_COUNT), "100")


def _words(peer: str, kind: str, *rest: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "bench.peers.worker", peer, kind, *rest)


def _worker(peer: str, kind: str, *rest: str) -> Any:
    return result_of(_words(peer, kind, *rest), timeout_seconds=_TIMEOUT_SECONDS)


def _latency(peer: str, port: int, topic: str) -> dict[str, float]:
    rest = (str(port), topic, str(_LATENCY_COUNT), "100")
    with subprocess.Popen(
        _words(peer, "send", *rest), cwd=ROOT, stdout=subprocess.DEVNULL
    ) as sender:
        try:
            found: dict[str, float] = _worker(peer, "receive", *rest)
            return found
        finally:
            sender.terminate()


def _table(rows: dict[str, _Found], peers: Sequence[str], missing: dict[str, str]) -> str:
    present = [peer for peer in peers if peer not in missing]
    cells = [("", *present)]
    for name, found in rows.items():
        values = (found.median(peer) for peer in present)
        shown = ("-" if value is None else _number(value) for value in values)
        cells.append((f"{name}, {found.unit}", *shown))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in pairs)
        for pairs in (list(enumerate(zip(row, widths, strict=True))) for row in cells)
    ]
    for peer in present:
        module = importlib.import_module(f"bench.peers.{peer}_client")
        server = servers.SETTINGS[module.SERVER]
        lines.append(f"{peer}: {module.SETTINGS}; {server}")
    lines += [f"{peer}: not measured: {why}" for peer, why in missing.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
