"""Several controllers on one etcd, and brokers: processes started as an operator would.

Owns starting them, finding the one that leads, and calls to each of them. Every wait has a bound
that no healthy run comes near; how fast things are is measured elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
from integration.walk.processes import Client, ServiceProcess

from kit.etcd import EtcdCluster
from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.error_details import STATUS_TRAILER, from_status
from ottla.protocol.errors import OttlaError

WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_Value = TypeVar("_Value")
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


class ControllerCalls:
    """Stubs of one controller."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self.admin: Any = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.service: Any = controller_pb2_grpc.ControllerServiceStub(self.channel)

    async def described(self) -> admin_pb2.DescribeClusterResponse:
        """The cluster as this controller knows it."""
        answer: admin_pb2.DescribeClusterResponse = await self.admin.DescribeCluster(
            admin_pb2.DescribeClusterRequest(), timeout=5
        )
        return answer

    async def create(self, name: str) -> admin_pb2.CreateTopicResult:
        """Asks this controller itself for a topic."""
        topic = admin_pb2.NewTopic(name=name)
        request = admin_pb2.CreateTopicsRequest(topics=[topic])
        answer = await self.admin.CreateTopics(request, timeout=10)
        result: admin_pb2.CreateTopicResult = answer.results[0]
        return result

    def watch(self) -> Any:
        """The metadata from its beginning on."""
        request = controller_pb2.WatchClusterMetadataRequest()
        return self.service.WatchClusterMetadata(request, timeout=60)


class Platform:
    """The processes; what is started here is ended here."""

    def __init__(
        self,
        folder: Path,
        etcd: EtcdCluster,
        *,
        prefix: str = "one",
        connects: Mapping[int, str] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for data and logs.
            etcd: where the metadata is.
            prefix: of its keys.
            connects: connect strings of those controllers that have one of their own.
        """
        self.folder = folder
        self.etcd = etcd
        self.connects = connects or {}
        self.controllers = {
            node_id: self.controller(node_id, prefix=prefix) for node_id in (1, 2, 3)
        }
        self.broker = ServiceProcess(
            "ottla_broker",
            "--node-id=1",
            f"--data-dir={folder / 'broker'}",
            "--access-log=failed",
            log=folder / "broker.log",
        )
        self._calls: list[ControllerCalls] = []

    def controller(self, node_id: int, *more: str, prefix: str = "one") -> ServiceProcess:
        """A controller that was not started yet."""
        return ServiceProcess(
            "ottla_controller",
            f"--node-id={node_id}",
            f"--metadata-store={self.connects.get(node_id, self.etcd.connect)}/{prefix}",
            "--access-log=none",
            *more,
            log=self.folder / f"controller-{node_id}.log",
        )

    async def start_controllers(self, *, first: int | None = None) -> None:
        """Starts all of them, at the same time but for the one that is to lead."""
        if first is not None:
            await self.controllers[first].start()
        async with asyncio.TaskGroup() as group:
            for node_id, controller in self.controllers.items():
                if node_id != first:
                    group.create_task(controller.start(), name="controller")

    async def start_broker(self) -> None:
        ports = [each.port for each in self.controllers.values()]
        await self.broker.start(*(f"--controller=127.0.0.1:{port}" for port in ports))

    def calls(self, node_id: int) -> ControllerCalls:
        """Calls to one controller."""
        calls = ControllerCalls(self.controllers[node_id].port)
        self._calls.append(calls)
        return calls

    async def active(self, *, but: int | None = None) -> tuple[int, ControllerCalls]:
        """The controller that leads, once one does, and calls to it.

        Args:
            but: not this one; it may not know yet that it is over.
        """
        others = [(node_id, self.calls(node_id)) for node_id in self.controllers if node_id != but]

        async def look() -> tuple[int, ControllerCalls] | None:
            for node_id, calls in others:
                try:
                    described = await calls.described()
                except grpc.RpcError:
                    continue
                active = [each.node_id for each in described.controllers if each.active]
                if active == [node_id]:
                    return node_id, calls
            return None

        return await eventually(look, what="a controller that leads")

    async def stop(self) -> None:
        for calls in self._calls:
            await calls.channel.close()
        for service in (self.broker, *self.controllers.values()):
            await service.kill()


async def eventually(
    look: Callable[[], Awaitable[_Value | None]], *, what: str, seconds: float = WAIT_SECONDS
) -> _Value:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while (found := await look()) is None:
        assert time.monotonic() < deadline, f"there is still no {what}"
        await asyncio.sleep(_LOOK_SECONDS)
    return found


async def error_of_call(call: Any) -> OttlaError:
    """The error that a call fails with, from the details of its status."""
    try:
        await call
    except grpc.aio.AioRpcError as failed:
        for key, value in failed.trailing_metadata():
            if key == STATUS_TRAILER:
                error = from_status(value)  # type: ignore[arg-type]  # a binary trailer
                assert error is not None
                return error
        raise
    raise AssertionError("the call succeeded")


@asynccontextmanager
async def running_platform(
    folder: Path,
    etcd: EtcdCluster,
    *,
    connects: Mapping[int, str] | None = None,
    first: int | None = None,
) -> AsyncIterator[Platform]:
    """Three controllers and a broker that are ready; killed when the block is left."""
    platform = Platform(folder, etcd, connects=connects)
    try:
        await platform.start_controllers(first=first)
        await platform.start_broker()
        yield platform
    finally:
        await platform.stop()


@asynccontextmanager
async def client_of(platform: Platform) -> AsyncIterator[Client]:
    """Stubs of the broker."""
    client = Client(platform.broker.port)
    try:
        yield client
    finally:
        await client.channel.close()
