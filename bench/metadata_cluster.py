"""Three controllers on three members of etcd, as they are deployed; brokers real or played.

Owns starting and ending them for a measurement, finding who leads, and a cluster of many
partitions. etcd flushes to its disk here: a metadata store that does not is no measure.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from bench.processes import ROOT
from kit.etcd import EtcdCluster, EtcdOptions, running_etcd
from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc

WAIT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.02
"""Between two looks at what tells nobody when it is ready."""


class Service:
    """One process of Ottla's, and the port it serves on."""

    def __init__(self, module: str, *flags: str, log: Path) -> None:
        read_fd, write_fd = os.pipe()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *flags, "--port=0", "--health-port=0",
                 "--access-log=none", "--die-with-parent", f"--ready-fd={write_fd}"],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(write_fd,),
            )  # fmt: skip
        os.close(write_fd)
        self.port = 0
        self._ready = os.fdopen(read_fd)

    def await_ready(self) -> None:
        """Returns once it serves."""
        with self._ready:
            for line in self._ready:
                self.port = json.loads(line).get("port", 0)
                if self.port:
                    return
        raise RuntimeError("a service ended before it was ready")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait()


class MetadataCluster:
    """Everything that keeps the metadata."""

    def __init__(self, folder: Path, etcd: EtcdCluster, flags: Sequence[str]) -> None:
        self.folder = folder
        self.etcd = etcd
        self.controllers = {
            node_id: Service(
                "ottla_controller",
                f"--node-id={node_id}",
                f"--metadata-store={etcd.connect}/bench",
                *flags,
                log=folder / f"controller-{node_id}.log",
            )
            for node_id in (1, 2, 3)
        }
        self.services = [*self.controllers.values()]
        for controller in self.controllers.values():
            controller.await_ready()

    def start_broker(self) -> Service:
        """A real broker."""
        addresses = [f"--controller={each.address}" for each in self.controllers.values()]
        flags = ("--node-id=1", f"--data-dir={self.folder / 'broker'}", *addresses)
        broker = Service("ottla_broker", *flags, log=self.folder / "broker.log")
        self.services.append(broker)
        broker.await_ready()
        return broker

    def active(self) -> int:
        """Node id of the controller that leads."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for controller in self.controllers.values():
                if controller.process.poll() is not None:
                    continue
                with grpc.insecure_channel(controller.address) as channel:
                    admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
                    known = admin.DescribeCluster(admin_pb2.DescribeClusterRequest(), timeout=5)
                for each in known.controllers:
                    if each.active and self.controllers[each.node_id].process.poll() is None:
                        return int(each.node_id)
            time.sleep(LOOK_SECONDS)
        raise RuntimeError("no controller leads")

    def stop(self) -> None:
        for service in self.services:
            service.kill()


@contextlib.contextmanager
def metadata_cluster(folder: Path, *flags: str) -> Iterator[MetadataCluster]:
    """Three controllers on three members of etcd that serve; ended with the block."""
    with running_etcd(folder / "etcd", size=3, options=EtcdOptions(flushes=True)) as etcd:
        cluster = MetadataCluster(folder, etcd, flags)
        try:
            yield cluster
        finally:
            cluster.stop()


class PlayedBrokers:
    """Brokers that only talk to the controller, each with as many partitions as the others."""

    def __init__(self, channel: grpc.Channel, count: int) -> None:
        self._stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        self._admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        self.epochs: dict[int, int] = {}
        for node_id in range(1, count + 1):
            self.register(node_id)
            self.let_in(node_id)

    def register(self, node_id: int) -> None:
        request = controller_pb2.RegisterBrokerRequest(
            node_id=node_id,
            incarnation_id=os.urandom(16),
            endpoints=[Endpoint(listener="public", host="127.0.0.1", port=9092)],
            directory_ids=[node_id.to_bytes(16)],
            clean_shutdown_epoch=self.epochs.get(node_id),
            broker_epoch_seen=self.epochs.get(node_id, 0),
            feature_level_max=1,
        )
        self.epochs[node_id] = self._stub.RegisterBroker(request, timeout=30).broker_epoch

    def let_in(self, node_id: int) -> None:
        """Heartbeats until it may lead."""
        while self._heartbeat(node_id, ready=True).fenced:
            pass

    def leave(self, node_id: int) -> None:
        """Heartbeats until it may stop, which fences it."""
        while not self._heartbeat(node_id, wants_shutdown=True).may_shut_down:
            pass

    def create(self, name: str, partitions: int) -> None:
        """A topic spread over all brokers."""
        topic = admin_pb2.NewTopic(name=name, partition_count=partitions)
        request = admin_pb2.CreateTopicsRequest(topics=[topic])
        result = self._admin.CreateTopics(request, timeout=WAIT_SECONDS).results[0]
        if result.HasField("error"):
            raise RuntimeError(result.error.message)

    def _heartbeat(self, node_id: int, **fields: bool) -> Any:
        version = self._admin.DescribeCluster(
            admin_pb2.DescribeClusterRequest(), timeout=30
        ).metadata_version
        request = controller_pb2.HeartbeatRequest(
            node_id=node_id,
            broker_epoch=self.epochs[node_id],
            applied_version=version,
            **fields,  # type: ignore[arg-type]  # checked by protobuf
        )
        return self._stub.Heartbeat(request, timeout=30)
