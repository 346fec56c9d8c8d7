"""A broker in the test's own process, on real sockets, with a fake controller.

Owns starting it as its process would, and stopping it in good order or as a crash would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from integration.broker.fake_controller import FakeController

from ottla.api.admin.v1 import admin_pb2_grpc
from ottla.api.fetch.v1 import fetch_pb2_grpc
from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.api.produce.v1 import produce_pb2_grpc
from ottla_broker.app import run_broker
from ottla_broker.config import BrokerConfig
from ottla_runtime.clock import SystemClock
from ottla_runtime.process import ServiceProcess
from ottla_runtime.supervision import Supervisor


class RecordedProcess(ServiceProcess):
    """A process that tells the test where the broker is ready."""

    def __init__(self, config: BrokerConfig, *, supervisor: Supervisor) -> None:
        super().__init__(config, supervisor=supervisor, clock=SystemClock())
        self.ready = asyncio.Event()
        self.port = 0

    def report_ready(self, *, port: int, health_port: int) -> None:
        self.port = port
        self.ready.set()


class RunningBroker:
    """A broker that serves, and stubs to call it with."""

    def __init__(self, process: RecordedProcess, controller: FakeController) -> None:
        self.process = process
        self.controller = controller
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{process.port}")
        self.produce: Any = produce_pb2_grpc.ProduceServiceStub(self.channel)
        self.fetch: Any = fetch_pb2_grpc.FetchServiceStub(self.channel)
        self.metadata: Any = metadata_pb2_grpc.MetadataServiceStub(self.channel)
        self.admin: Any = admin_pb2_grpc.AdminServiceStub(self.channel)

    @property
    def port(self) -> int:
        return self.process.port

    async def create_topic(self, name: str, **details: Any) -> bytes:
        """A topic that this broker shows, and leads if it is to."""
        topic_id = self.controller.create_topic(name, **details)
        await self.caught_up()
        return topic_id

    async def caught_up(self) -> None:
        """Return once the broker shows what its controller has decided."""
        request = metadata_pb2.GetMetadataRequest(min_version=self.controller.version)
        await self.metadata.GetMetadata(request, timeout=10)


def broker_config(data_dir: Path, controller: FakeController, **settings: Any) -> BrokerConfig:
    given: dict[str, Any] = {
        "node_id": 1,
        "port": 0,
        "data_dir": data_dir,
        "controller": (f"127.0.0.1:{controller.port}",),
        "health_port": 0,
        "access_log": "none",
        "idle_heartbeat_ms": 200,
    }
    return BrokerConfig(**{**given, **settings})


@asynccontextmanager
async def running_broker(
    data_dir: Path, controller: FakeController, **settings: Any
) -> AsyncIterator[RunningBroker]:
    """A ready broker; drained when the block is left."""
    config = broker_config(data_dir, controller, **settings)
    async with Supervisor() as supervisor:
        process = RecordedProcess(config, supervisor=supervisor)
        main = supervisor.start_task("broker", run_broker(process, config))
        await process.ready.wait()
        broker = RunningBroker(process, controller)
        try:
            yield broker
        finally:
            await broker.channel.close()
            process.request_drain()
            await asyncio.wait([main])
            supervisor.cancel_all()


@asynccontextmanager
async def fake_controller(**settings: Any) -> AsyncIterator[FakeController]:
    controller = FakeController(**settings)  # type: ignore[abstract]  # what no test calls is left out
    await controller.start()
    try:
        yield controller
    finally:
        await controller.stop()
