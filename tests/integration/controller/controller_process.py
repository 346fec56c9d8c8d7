"""A real controller process, and a broker's calls to it over plain generated stubs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from ottla.api.admin.v1.admin_pb2 import DescribeClusterRequest
from ottla.api.admin.v1.admin_pb2_grpc import AdminServiceStub
from ottla.api.cluster.v1.cluster_pb2 import Endpoint, MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import (
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterBrokerRequest,
    RegisterBrokerResponse,
    WatchClusterMetadataRequest,
    WatchClusterMetadataResponse,
)
from ottla.internal.controller.v1.controller_pb2_grpc import ControllerServiceStub

ROOT = Path(__file__).parents[3]
PATHS = [ROOT / "clients/python", ROOT / "services/runtime", ROOT / "services/controller"]
WAIT_SECONDS = 30


@dataclass
class Ended:
    """How a process ended."""

    code: int
    stderr: str

    @property
    def last_line(self) -> str:
        """What it said to people; the lines of JSON before it are the log."""
        told = [line for line in self.stderr.splitlines() if not line.startswith("{")]
        return told[-1] if told else ""


class ControllerProcess:
    """One process; `stubs` call it."""

    def __init__(self, data_dir: Path, *flags: str, port: int = 0) -> None:
        read, write = os.pipe()
        arguments = ["--node-id=1", f"--data-dir={data_dir}", f"--port={port}", "--health-port=0"]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS)), "LANG": "C"}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ottla_controller", *arguments, f"--ready-fd={write}",
                 *flags],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[write],
                env=environ,
                text=True,
            )  # fmt: skip
        finally:
            os.close(write)
        self._ready = os.fdopen(read)

    def ready(self) -> dict[str, Any]:
        """The first line it says: where it serves, or why it does not."""
        with self._ready:
            line: dict[str, Any] = json.loads(self._ready.readline())
        return line

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> Ended:
        """Ends it by a signal, or waits for an end of its own."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        if not self._ready.closed:
            self._ready.close()
        _, stderr = self.process.communicate(timeout=WAIT_SECONDS)
        return Ended(self.process.returncode, stderr)


class Calls:
    """Stubs as any language generates them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.admin: Any = AdminServiceStub(channel)
        self.controller: Any = ControllerServiceStub(channel)

    def register(self, node_id: int = 1, **fields: object) -> RegisterBrokerResponse:
        """Registers a new process of a broker."""
        request = registration(node_id, **fields)
        response: RegisterBrokerResponse = self.controller.RegisterBroker(
            request, timeout=WAIT_SECONDS
        )
        return response

    def heartbeat(
        self, registered: RegisterBrokerResponse, node_id: int = 1, **fields: object
    ) -> HeartbeatResponse:
        """A heartbeat of a broker that is ready and knows of its registration."""
        given: dict[str, Any] = {"ready": True, **fields}
        request = HeartbeatRequest(
            node_id=node_id,
            broker_epoch=registered.broker_epoch,
            applied_version=given.pop("applied_version", None) or self.version(),
            **given,
        )
        response: HeartbeatResponse = self.controller.Heartbeat(request, timeout=WAIT_SECONDS)
        return response

    def version(self) -> MetadataVersion:
        """The version of the metadata now."""
        version: MetadataVersion = self.admin.DescribeCluster(
            DescribeClusterRequest(), timeout=WAIT_SECONDS
        ).metadata_version
        return version

    def start_broker(self, node_id: int = 1) -> RegisterBrokerResponse:
        """Registers a broker and has it let in."""
        registered = self.register(node_id)
        assert not self.heartbeat(registered, node_id).fenced
        return registered

    def watch(self, from_version: MetadataVersion | None = None) -> Any:
        """The stream of metadata."""
        request = WatchClusterMetadataRequest(node_id=1, from_version=from_version)
        return self.controller.WatchClusterMetadata(request, timeout=WAIT_SECONDS)


def registration(node_id: int, **fields: object) -> RegisterBrokerRequest:
    """What a broker's process says when it begins."""
    given: dict[str, Any] = {
        "incarnation_id": os.urandom(16),
        "endpoints": [Endpoint(listener="public", host="127.0.0.1", port=9092)],
        "directory_ids": [node_id.to_bytes(16)],
        "feature_level_max": 1,
        **fields,
    }
    return RegisterBrokerRequest(node_id=node_id, **given)


def snapshot(stream: Iterator[WatchClusterMetadataResponse]) -> list[WatchClusterMetadataResponse]:
    """The messages of a snapshot, the last included."""
    messages = []
    for message in stream:
        messages.append(message)
        if message.snapshot_complete:
            break
    return messages


@contextmanager
def calls_to(port: int) -> Iterator[Calls]:
    """Calls to a port, on a channel of stock options."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Calls(channel)


@contextmanager
def running(
    data_dir: Path, *flags: str, ended: Sequence[signal.Signals] = (signal.SIGTERM,)
) -> Iterator[Calls]:
    """A controller that serves, ended by a signal afterwards."""
    controller = ControllerProcess(data_dir, *flags)
    try:
        with calls_to(controller.ready()["port"]) as calls:
            yield calls
        result = controller.end(ended[0])
        assert result.code in {0, -signal.SIGKILL}, result.stderr
    finally:
        if controller.process.poll() is None:
            controller.end(signal.SIGKILL)
