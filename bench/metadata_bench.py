"""The metadata: how long writes stand still when a part of it dies, and how fast news travels.

Owns the rows on etcd and several controllers, on real processes and real gRPC streams. A writer
keeps book of every answer, and what was acknowledged is looked for afterwards: a failover that is
fast and forgets would be worth nothing.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from bench.measures import Measure, progress
from bench.metadata_cluster import (
    LOOK_SECONDS,
    MetadataCluster,
    PlayedBrokers,
    metadata_cluster,
)
from bench.processes import ROOT, cpu_seconds
from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc

ETCD_NAME: Final = "metadata: writes stand still when etcd's leader is killed"
CONTROLLER_NAME: Final = "metadata: writes stand still when the active controller is killed"
PUSH_NAME: Final = "metadata: a broker's end and return reach 1,000 followers"
PUSH_CPU_NAME: Final = "metadata: CPU of the active controller meanwhile"
DESCRIBE_NAME: Final = "metadata: 20,000 partitions described through a stock stub"
MESSAGE_NAME: Final = "metadata: largest message of that"
_STALL_SECONDS_MAX: Final = 3.0
_PUSH_SECONDS_MAX: Final = 1.0
_PUSH_CPU_PERCENT_MAX: Final = 50.0
_MESSAGE_BYTES_MAX: Final = 1_048_576
_KILLS: Final = 3
_SETTLE_SECONDS: Final = 1.5
"""Writes at full rate before something is killed, so that the stall stands among usual gaps."""
_PARTITIONS: Final = 10_000
_BROKERS: Final = 100
_WATCHERS: Final = 1_000
_WATCHER_PROCESSES: Final = 4
_ROUNDS: Final = 5
_PAUSE_SECONDS: Final = 1.0
"""Between changes: as often as brokers come and go at the worst, not as fast as can be."""


def run(*, only: str = "") -> list[Measure]:
    """Every row whose name contains `only`."""
    asked = [
        (rows, names)
        for rows, names in (
            (stall_rows, (ETCD_NAME, CONTROLLER_NAME)),
            (many_rows, (PUSH_NAME, PUSH_CPU_NAME, DESCRIBE_NAME, MESSAGE_NAME)),
        )
        if any(only in name for name in names)
    ]
    if asked and shutil.which("etcd") is None:
        progress("etcd is not installed: nothing of the metadata is measured")
        return []
    found = [row for rows, _ in asked for row in rows()]
    return [row for row in found if only in row.name]


def stall_rows() -> list[Measure]:
    """The longest time between two acknowledged writes, over some kills of each kind."""
    with tempfile.TemporaryDirectory(prefix="ottla-bench-") as folder:
        etcd = [_etcd_stall(Path(folder) / f"etcd-{number}") for number in range(_KILLS)]
        active = [_controller_stall(Path(folder) / f"active-{number}") for number in range(_KILLS)]
    detail = f"the longest of {_KILLS} kills; nothing acknowledged was lost"
    return [
        Measure(ETCD_NAME, max(etcd), "s", _STALL_SECONDS_MAX, detail),
        Measure(CONTROLLER_NAME, max(active), "s", _STALL_SECONDS_MAX, detail),
    ]


def _etcd_stall(folder: Path) -> float:
    with metadata_cluster(folder) as cluster:
        return _stall(cluster, lambda: cluster.etcd.leader().kill())


def _controller_stall(folder: Path) -> float:
    with metadata_cluster(folder) as cluster:
        active = cluster.controllers[cluster.active()]
        return _stall(cluster, active.kill)


def _stall(cluster: MetadataCluster, kill: Callable[[], None]) -> float:
    broker = cluster.start_broker()
    with _Writer(broker.address) as writer:
        time.sleep(_SETTLE_SECONDS)
        kill()
        writer.await_more(20)
    writer.check(broker.address)
    progress(f"stood still for {writer.longest_gap_seconds:.2f} s")
    return writer.longest_gap_seconds


class _Writer:
    """Creates topics through a broker without pause, in a thread, and keeps book."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")
        self.acknowledged: list[tuple[float, str]] = []

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join()

    def await_more(self, count: int) -> None:
        """Returns once so many more writes were acknowledged."""
        goal, deadline = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < goal:
            if time.monotonic() > deadline:
                raise RuntimeError("writes have not come back")
            time.sleep(LOOK_SECONDS)

    @property
    def longest_gap_seconds(self) -> float:
        times = [at for at, _ in self.acknowledged]
        return max(after - before for before, after in itertools.pairwise(times))

    def check(self, address: str) -> None:
        """Everything acknowledged is there; raises RuntimeError if not."""
        with grpc.insecure_channel(address) as channel:
            found = {topic.name for topic in _topics(admin_pb2_grpc.AdminServiceStub(channel))}
        lost = {name for _, name in self.acknowledged} - found
        if lost:
            raise RuntimeError(f"{len(lost)} acknowledged topics are lost")

    def _write(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
            number = 0
            while not self._over.is_set():
                number += 1
                name = f"t{number:06d}"
                topic = admin_pb2.NewTopic(name=name)
                request = admin_pb2.CreateTopicsRequest(topics=[topic])
                try:
                    answer = admin.CreateTopics(request, timeout=20)
                except grpc.RpcError:
                    continue  # an outcome that nobody knows: it may be there or not
                if not answer.results[0].HasField("error"):
                    self.acknowledged.append((time.monotonic(), name))


def _topics(admin: Any) -> Iterator[Any]:
    token = ""
    while True:
        answer = admin.ListTopics(admin_pb2.ListTopicsRequest(page_token=token), timeout=30)
        yield from answer.topics
        token = answer.next_page_token
        if not token:
            return


def many_rows() -> list[Measure]:
    """News to many followers, and descriptions of many partitions."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ottla-bench-")))
        # Played brokers do not heartbeat unless they have something to say.
        cluster = stack.enter_context(metadata_cluster(folder, "--session-timeout-ms=60000"))
        active = cluster.controllers[cluster.active()]
        channel = stack.enter_context(grpc.insecure_channel(active.address))
        brokers = PlayedBrokers(channel, _BROKERS)
        brokers.create("many", _PARTITIONS)
        progress(f"{_PARTITIONS:,} partitions on {_BROKERS} brokers")
        addresses = ",".join(each.address for each in cluster.controllers.values())
        seconds, percent = _push(brokers, active.process.pid, addresses)
        brokers.create("more", _PARTITIONS)
        described_seconds, largest = _describe(channel)
    spread = f"{_WATCHERS:,} streams on 3 controllers, {_PARTITIONS:,} partitions"
    led = _PARTITIONS // _BROKERS
    return [
        Measure(PUSH_NAME, seconds, "s", _PUSH_SECONDS_MAX, f"the slowest of {2 * _ROUNDS} changes "
                f"of {led} partitions; {spread}"),
        Measure(PUSH_CPU_NAME, percent, "%", _PUSH_CPU_PERCENT_MAX, "a change a second"),
        Measure(DESCRIBE_NAME, described_seconds, "s", None, "every page, one after the other"),
        Measure(MESSAGE_NAME, largest, "B", _MESSAGE_BYTES_MAX, "a page of descriptions"),
    ]  # fmt: skip


def _push(brokers: PlayedBrokers, pid: int, addresses: str) -> tuple[float, float]:
    """The longest time until all have seen a change, and the active controller's CPU."""
    with _watching(addresses) as watchers:
        cpu, begun = cpu_seconds(pid), time.monotonic()
        longest = 0.0
        for number in range(_ROUNDS):
            node_id = number + 1
            for change, fenced in ((brokers.leave, True), (brokers.let_in, False)):
                if not fenced:
                    brokers.register(node_id)
                    watchers.seen(node_id, fenced=True)  # that it is registered
                at = time.monotonic()
                change(node_id)
                longest = max(longest, watchers.seen(node_id, fenced=fenced) - at)
                time.sleep(_PAUSE_SECONDS)
        percent = 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - begun)
    progress(f"seen by all after {longest:.2f} s at most, {percent:.0f} % of a core")
    return longest, percent


class _WatcherProcesses:
    """What the processes of followers say."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def seen(self, node_id: int, *, fenced: bool) -> float:
        """When the last follower saw it."""
        return max(self._line(each, node_id, fenced) for each in self._processes)

    def _line(self, process: subprocess.Popen[str], node_id: int, fenced: bool) -> float:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if (said.get("node_id"), said.get("fenced")) == (node_id, fenced):
                return float(said["at"])
        raise RuntimeError("a process of followers ended")


@contextmanager
def _watching(addresses: str) -> Iterator[_WatcherProcesses]:
    command = [sys.executable, "-m", "bench.metadata_watcher", addresses]
    count = str(_WATCHERS // _WATCHER_PROCESSES)
    processes = [
        subprocess.Popen(
            [*command, count],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(_WATCHER_PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            json.loads(process.stdout.readline())
        progress(f"{_WATCHERS:,} follow")
        yield _WatcherProcesses(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _describe(channel: grpc.Channel) -> tuple[float, int]:
    """Seconds for all partitions, and the bytes of the largest answer."""
    admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
    begun, count, largest, token = time.monotonic(), 0, 0, ""
    while True:
        request = admin_pb2.DescribeTopicsRequest(page_token=token)
        answer = admin.DescribeTopics(request, timeout=30)
        count += sum(len(topic.partitions) for topic in answer.topics)
        largest = max(largest, answer.ByteSize())
        token = answer.next_page_token
        if not token:
            break
    seconds = time.monotonic() - begun
    if count != 2 * _PARTITIONS:
        raise RuntimeError(f"{count} partitions were described")
    return seconds, largest
