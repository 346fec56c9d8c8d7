"""A controller and brokers as processes of their own, started as an operator would.

Owns starting them, knowing when they are ready, killing and restarting them, and stubs to call a
broker with. What they say goes to files in the test's folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
from integration.broker.requests import collected, read, records_of

from kit.ports import free_port
from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.fetch.v1 import fetch_pb2_grpc
from ottla.api.metadata.v1 import metadata_pb2_grpc
from ottla.api.produce.v1 import produce_pb2_grpc

READY_SECONDS = 30.0
STOP_SECONDS = 30.0


class ServiceProcess:
    """One service, restarted under the same port."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._module = module
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log_text(self) -> str:
        return self._log.read_text()

    async def launch(self, *extra: str, before: Callable[[], None] | None = None) -> int:
        """Start it; returns the descriptor that gets its ready line."""
        read_fd, write_fd = os.pipe()
        environ = {key: each for key, each in os.environ.items() if not key.startswith("OTTLA_")}
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    self._module,
                    *self._arguments,
                    *extra,
                    "--health-port=0",
                    f"--port={self.port}",
                    f"--ready-fd={write_fd}",
                    "--die-with-parent",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_fd,),
                    env=environ,
                    preexec_fn=before,
                )
        finally:
            os.close(write_fd)
        return read_fd

    async def start(self, *extra: str, before: Callable[[], None] | None = None) -> None:
        """Start it and wait until it serves."""
        read_fd = await self.launch(*extra, before=before)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(read_fd, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            async with asyncio.timeout(READY_SECONDS):
                said: dict[str, Any] = {"waiting": ""}
                while "waiting" in said:
                    said = json.loads(await reader.readline() or "{}")
        finally:
            transport.close()
        assert "port" in said, f"{self._module} ended before it was ready:\n{self.log_text()}"
        self.port = said["port"]

    async def refuse(self, *extra: str) -> int:
        """Start it where it can't; returns its exit code."""
        os.close(await self.launch(*extra))
        assert self._process is not None
        async with asyncio.timeout(READY_SECONDS):
            return await self._process.wait()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            return await process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """As a crash: nothing of it runs on."""
        await self.end(signal.SIGKILL)


class Cluster:
    """A controller and one broker over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.controller = ServiceProcess(
            "ottla_controller",
            "--node-id=1",
            f"--data-dir={folder / 'controller'}",
            log=folder / "controller.log",
        )
        self.broker = ServiceProcess(
            "ottla_broker",
            "--node-id=1",
            f"--data-dir={folder / 'broker'}",
            "--access-log=failed",
            log=folder / "broker.log",
        )

    async def start_broker(self, *extra: str, before: Callable[[], None] | None = None) -> None:
        address = f"--controller=127.0.0.1:{self.controller.port}"
        await self.broker.start(address, *extra, before=before)

    async def stop(self) -> None:
        for service in (self.broker, self.controller):
            await service.kill()


class Client:
    """Stubs of one broker."""

    def __init__(self, port: int) -> None:
        # A channel of its own for each connection to a broker that comes and goes.
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.produce: Any = produce_pb2_grpc.ProduceServiceStub(self.channel)
        self.fetch: Any = fetch_pb2_grpc.FetchServiceStub(self.channel)
        self.metadata: Any = metadata_pb2_grpc.MetadataServiceStub(self.channel)
        self.admin: Any = admin_pb2_grpc.AdminServiceStub(self.channel)

    async def create_topic(self, name: str, **details: Any) -> admin_pb2.CreateTopicResult:
        topic = admin_pb2.NewTopic(name=name, **details)
        request = admin_pb2.CreateTopicsRequest(topics=[topic])
        answer = await self.admin.CreateTopics(request, timeout=20)
        result: admin_pb2.CreateTopicResult = answer.results[0]
        assert not result.HasField("error"), result.error
        return result

    async def delete_topic(self, name: str) -> None:
        ref = admin_pb2.TopicRef(name=name)
        answer = await self.admin.DeleteTopics(
            admin_pb2.DeleteTopicsRequest(topics=[ref]), timeout=20
        )
        assert not answer.results[0].HasField("error"), answer.results[0].error


class Listening(Protocol):
    """A service, wherever it runs."""

    @property
    def port(self) -> int: ...


async def values_of(client: Client, topic: str, **fields: object) -> list[bytes]:
    messages = await collected(client.fetch.Read(read(topic, **fields), timeout=20))
    return [record.value for record in records_of(messages)]


@asynccontextmanager
async def client_of(service: Listening) -> AsyncIterator[Client]:
    client = Client(service.port)
    try:
        yield client
    finally:
        await client.channel.close()


@asynccontextmanager
async def running_cluster(folder: Path, *, broker: Sequence[str] = ()) -> AsyncIterator[Cluster]:
    """A controller and a broker, with more flags, that are ready; killed as the block is left."""
    cluster = Cluster(folder)
    try:
        await cluster.controller.start()
        await cluster.start_broker(*broker)
        yield cluster
    finally:
        await cluster.stop()
