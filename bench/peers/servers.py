"""The peers' servers: one process each, on a free port of the loopback, with data of its own.

Owns how they are set up; what differs from their defaults is what makes the comparison fair, and
stands beside the figures (`SETTINGS`). Each ends with its context, and its data goes with it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
_KAFKA_JARS: Final = ROOT / ".cache" / "peers" / "kafka"
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
"""Between two looks at a port: nothing tells when a server listens."""
_END_SECONDS: Final = 20.0
_CLUSTER_ID: Final = "b3R0bGEtYmVuY2gtcGVlcg"

SETTINGS: Final = {
    "ottla": "one broker and its controller, by `ottla up`",
    "kafka": "Kafka 4.1, KRaft, 1 broker, 1 GiB heap; flushes when the system does (its default)",
    "redis": "Redis 7.0, append-only file, flushed every second",
    "nats": "NATS 2.9 JetStream, file storage, flushed every 2 minutes (its default)",
}


class PeerMissing(Exception):  # noqa: N818 - reads as the condition it is
    """This machine can't run the peer; the message says what to install."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a peer listens, and which process it is."""

    port: int
    pid: int


@contextlib.contextmanager
def kafka() -> Iterator[RunningServer]:
    """A broker that is its own controller."""
    java = _program("java", "openjdk-17-jre-headless")
    if not _KAFKA_JARS.exists():
        _copy_kafka()
    with tempfile.TemporaryDirectory(prefix="ottla-peer-") as folder:
        port, controller = _free_port(), _free_port()
        properties = Path(folder, "server.properties")
        properties.write_text(_kafka_properties(folder, port=port, controller=controller))
        classes = ("-cp", f"{_KAFKA_JARS}/*")
        _run(
            java,
            *classes,
            "kafka.tools.StorageTool",
            *("format", "-t", _CLUSTER_ID, "-c", str(properties)),
        )
        command = (java, "-Xms1g", "-Xmx1g", *classes, "kafka.Kafka", str(properties))
        with _running(command, port=port) as server:
            yield server


@contextlib.contextmanager
def redis() -> Iterator[RunningServer]:
    """A server that keeps an append-only file."""
    program = _program("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="ottla-peer-") as folder:
        port = _free_port()
        words = ("--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "")
        durable = ("--appendonly", "yes", "--appendfsync", "everysec")
        with _running((program, *words, *durable), port=port) as server:
            yield server


@contextlib.contextmanager
def nats() -> Iterator[RunningServer]:
    """A server with JetStream."""
    program = _program("nats-server", "nats-server")
    with tempfile.TemporaryDirectory(prefix="ottla-peer-") as folder:
        port = _free_port()
        words = ("--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", folder)
        with _running((program, *words), port=port) as server:
            yield server


def _kafka_properties(folder: str, *, port: int, controller: int) -> str:
    return "\n".join(
        (
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.bootstrap.servers=127.0.0.1:{controller}",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "offsets.topic.replication.factor=1",
            f"log.dirs={folder}/logs",
            "",
        )
    )


def _copy_kafka() -> None:
    """Has Maven fetch the jars, at the version of the project file and held to its checksums."""
    maven = _program("mvn", "maven")
    unfinished = _KAFKA_JARS.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    goal = ("--batch-mode", "--quiet", "dependency:copy-dependencies")
    project = Path(__file__).parent / "kafka" / "pom.xml"
    _run(maven, "--file", str(project), *goal, f"-DoutputDirectory={unfinished}")
    unfinished.rename(_KAFKA_JARS)


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PeerMissing(f"{name} is not installed (Debian: {package})")
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerMissing(f"{' '.join(command[:3])} failed: {done.stdout}{done.stderr}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(command: Sequence[str], *, port: int) -> Iterator[RunningServer]:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_until_it_listens(process, port)
            yield RunningServer(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            raise PeerMissing(f"{process.args!r} ended with {process.returncode} at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(_LOOK_SECONDS)
    raise PeerMissing(f"{process.args!r} did not listen within {_START_SECONDS:.0f} s")
