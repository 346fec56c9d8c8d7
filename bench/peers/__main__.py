"""`python -m bench.peers`: Ottla and what else people use, in turn, on this machine, in one run.

One partition, one producer, one consumer, one after the other, values of one size, no compression;
each client in the way its makers advise. Rounds alternate between the contestants; the median
counts. Where a peer can't run here the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from bench.measures import progress
from bench.peers import servers
from bench.peers.figures import KEPT, Figures
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


def main() -> int:
    """Measure, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--only", nargs="*", default=PEERS, choices=PEERS, metavar="PEER")
    parser.add_argument("--keep", action="store_true", help=f"write them to {KEPT.name}, too")
    arguments = parser.parse_args()
    figures = Figures()
    for _ in range(arguments.rounds):
        for peer in arguments.only:
            if peer not in figures.missing:
                try:
                    _round(peer, figures)
                except (PeerMissing, subprocess.CalledProcessError, ImportError) as error:
                    figures.missing[peer] = str(error)
                    figures.settings.pop(peer, None)
    sys.stdout.write(figures.table())
    figures.write(_RESULTS)
    if arguments.keep:
        figures.write(KEPT)
    return 0


def _round(peer: str, figures: Figures) -> None:
    """Everything once with one contestant, on a server of its own."""
    module = importlib.import_module(f"bench.peers.{peer}_client")
    figures.settings[peer] = f"{module.SETTINGS}; {servers.SETTINGS[module.SERVER]}"
    with _server(module.SERVER) as server:
        _warm_up(peer, server.port)
        for work in _WORKS:
            topic = _topic(peer, server.port)
            for kind in ("produce", "consume"):
                _measure(figures, peer, server, work, kind=kind, topic=topic)
        progress(f"{peer}: latency")
        for name, value in _latency(peer, server.port, _topic(peer, server.port)).items():
            figures.add(f"due to received at 500/s, {name.removesuffix('_ms')}, ms", peer, value)


def _measure(
    figures: Figures, peer: str, server: RunningServer, work: _Work, *, kind: str, topic: str
) -> None:
    progress(f"{peer}: {kind} {work.name}")
    before = cpu_seconds(server.pid)
    words = (str(server.port), topic, str(work.count), str(work.size))
    seconds = _worker(peer, kind, *words)["seconds"]
    used = cpu_seconds(server.pid) - before
    figures.add(f"{kind} {work.name}, {work.unit}", peer, work.rate(seconds))
    if work.unit == "MB/s":
        gigabytes = work.count * work.size / 1e9
        figures.add(f"server CPU a GB, {kind} {work.name}, s", peer, used / gigabytes)


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


if __name__ == "__main__":
    sys.exit(main())
