"""One Produce stream by itself, with a replica and a client that do as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from kit.clock import ManualClock
from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.batch import Batch
from ottla.protocol.ids import NodeId
from ottla.protocol.records import encode_record_batch
from ottla_broker.core.append_checks import Acks, check_batch
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.replica.partition import AppendResult, PlacedAppend
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.produce_session import ProduceSessions, ProduceSurroundings
from unit.broker_rpc.cluster_messages import broker, partition, topic

ME = NodeId(1)
IDLE_MS = 2_000


class CountingReplica:
    """Led here; takes every batch that a leader would."""

    def __init__(self) -> None:
        self.config = LogConfig()
        self.leader_epoch: int | None = 1
        self.error = None
        self.placed: list[Batch] = []

    async def place(
        self, batches: Sequence[Batch], *, acks: Acks, leader_epoch: int | None
    ) -> PlacedAppend:
        for batch in batches:
            check_batch(batch, self.config, now_ms=1_700_000_000_000)
        base = len(self.placed)
        self.placed += batches
        return PlacedAppend(AppendResult(base, base + 1, 0, 0, 1), None)


class InlineOffload:
    """Does the work at once, and counts how often."""

    def __init__(self) -> None:
        self.run_count = 0

    def run(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        self.run_count += 1
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - as an executor hands on whatever it is
            future.set_exception(error)
        return future


class ShutClient:
    """A client's end of the stream: takes answers only while `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.answers: list[produce_pb2.ProduceResponse] = []

    async def write(self, answer: produce_pb2.ProduceResponse) -> None:
        await self.open.wait()
        self.answers.append(answer)


class Producing:
    """Sessions over one partition that this broker leads."""

    def __init__(self, **config: Any) -> None:
        table = ClusterTable()
        table.apply([broker(1), topic(1, "a"), partition(1)])
        self.replica = CountingReplica()
        self.replica.config = LogConfig(**config)
        self.client = ShutClient()
        self.offload = InlineOffload()
        self.clock = ManualClock()
        self.taken_count = 0
        router = PartitionRouter(
            ClientView(table, listener="public"),
            node_id=ME,
            find_replica=lambda topic_id, number: self.replica,  # type: ignore[arg-type,return-value]  # a stand-in
            applied=VersionWaiters(),
        )
        self.sessions = ProduceSessions(
            ProduceSurroundings(
                router=router,
                node_id=ME,
                lease_held=lambda: True,
                offload=self.offload,
                clock=self.clock,
                idle_ms=IDLE_MS,
            )
        )

    async def requests(self, messages: Sequence[bytes]) -> AsyncIterator[memoryview]:
        for message in messages:
            self.taken_count += 1
            yield memoryview(message)
            await asyncio.sleep(0)  # as a stream does between messages

    async def serve(self, messages: Sequence[bytes]) -> None:
        context: Any = self.client
        await self.sessions.serve(self.requests(messages), context)

    async def serve_idle(self) -> None:
        """Serve a client that sends nothing, for ever."""
        context: Any = self.client
        await self.sessions.serve(self._nothing(), context)

    async def _nothing(self) -> AsyncIterator[memoryview]:
        await asyncio.get_running_loop().create_future()
        yield memoryview(b"")

    async def at_rest(self) -> None:
        """Return once no more requests are taken."""
        before = -1
        while before != self.taken_count:
            before = self.taken_count
            for _ in range(100):
                await asyncio.sleep(0)


def request(value: bytes = b"v", *, frame: bytes | None = None, **fields: Any) -> bytes:
    """A request of one batch of one record."""
    encoded = encode_record_batch([(None, value, 1_700_000_000_000, ())])
    given: dict[str, Any] = {"topic": "a", **fields}
    rest = produce_pb2.ProduceRequest(**given).SerializeToString()
    return bytes(encoded if frame is None else frame) + rest
