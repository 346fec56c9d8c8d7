"""The course of a Publish call at the leader, with a replica that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from kit.clock import ManualClock
from ottla.api.admin.v1 import admin_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import Batch
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import NotLeader, OttlaError, StorageOffline
from ottla.protocol.ids import NodeId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.replica.partition import AppendResult
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.produce_servicer import ProduceServicer
from ottla_broker.rpc.topic_auto_creation import TopicAutoCreation

from .cluster_messages import broker, partition, topic

ME = NodeId(1)


class ScriptedReplica:
    """Led here; appends end as the test says: with an offset, an error, or never."""

    def __init__(self) -> None:
        self.config = LogConfig()
        self.leader_epoch: int | None = 1
        self.error: OttlaError | None = None
        self.outcome: OttlaError | None = None
        self.never_answers = False
        self.on_append: Callable[[], object] = list
        self.appended: list[tuple[int, Acks]] = []

    async def append(self, batches: Sequence[Batch], *, acks: Acks) -> AppendResult:
        base = len(self.appended)
        self.appended += [(batch.header.record_count, acks) for batch in batches]
        self.on_append()
        if self.never_answers:
            await asyncio.get_running_loop().create_future()
        if self.outcome is not None:
            raise self.outcome
        return AppendResult(base, base + 1, 0, 0, 1)


class InlineOffload:
    """Does the work at once."""

    def run(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(work())
        return future


class CallContext:
    """As much of a call's context as Publish looks at."""

    def invocation_metadata(self) -> tuple[()]:
        return ()


class Publishing:
    def __init__(self) -> None:
        self.table = ClusterTable()
        self.table.apply([broker(1), broker(2), topic(1, "a"), partition(1)])
        self.replica = ScriptedReplica()
        self.lease_held = True
        applied = VersionWaiters()
        router = PartitionRouter(
            ClientView(self.table, listener="public"),
            node_id=ME,
            find_replica=lambda topic_id, number: self.replica,  # type: ignore[arg-type,return-value]  # a stand-in
            applied=applied,
        )
        self.servicer = ProduceServicer(
            router,
            PeerChannels(self.table, listener="public", open_channel=_no_channel),
            node_id=ME,
            auto_creation=TopicAutoCreation(_no_creation, is_enabled=lambda: False),
            lease_held=lambda: self.lease_held,
            clock=ManualClock(),
            offload=InlineOffload(),
            idle_ms=15_000,
            trusts_forwarded=False,
        )

    async def publish(self, **fields: Any) -> produce_pb2.PublishResult:
        records = [record_pb2.PlainRecord(value=b"v")]
        request = produce_pb2.PublishRequest(topic="a", records=records, **fields)
        context: Any = CallContext()
        response = await self.servicer.Publish(request, context)
        return response.results[0]

    async def reason(self, **fields: Any) -> str:
        result = await self.publish(**fields)
        return from_proto(result.error).reason if result.HasField("error") else ""


def _no_channel(endpoint: object) -> Any:
    raise AssertionError("nothing is passed on here")


async def _no_creation(
    request: admin_pb2.CreateTopicsRequest, principal: str
) -> admin_pb2.CreateTopicsResponse:
    raise AssertionError("nothing is created here")


async def test_an_append_that_is_not_acknowledged_in_time_says_that_it_may_yet_be() -> None:
    test = Publishing()
    test.replica.never_answers = True
    result = await test.publish(timeout_ms=1)
    error = from_proto(result.error)
    assert error.reason == "ACKS_TIMED_OUT"
    assert (error.topic, error.partition) == ("a", 0)
    assert not result.HasField("offset")
    assert test.replica.appended == [(1, Acks.ALL)]


async def test_without_the_controller_nothing_is_appended_that_could_be_lost_unnoticed() -> None:
    test = Publishing()
    test.lease_held = False
    assert await test.reason(acks=produce_pb2.ACKS_LEADER) == "LEADER_NOT_AVAILABLE"
    assert await test.reason(acks=produce_pb2.ACKS_NONE) == "LEADER_NOT_AVAILABLE"
    assert test.replica.appended == []
    assert await test.reason(acks=produce_pb2.ACKS_ALL) == ""


async def test_a_leader_that_lost_its_place_names_its_successor() -> None:
    test = Publishing()
    test.replica.outcome = NotLeader("gone", metadata={"topic": "a", "partition": 0})
    test.replica.on_append = lambda: test.table.apply([partition(1, leader=2, leader_epoch=9)])
    details = from_proto((await test.publish()).error).metadata
    assert details["leader_id"] == "2"
    assert details["leader_epoch"] == "9"
    assert details["leader_host"] == "broker-2"


async def test_a_replica_whose_disk_failed_says_so() -> None:
    test = Publishing()
    test.replica.error = StorageOffline("offline")
    assert await test.reason() == "STORAGE_OFFLINE"
    assert test.replica.appended == []


async def test_acks_none_tells_no_offset_though_the_record_is_appended() -> None:
    test = Publishing()
    result = await test.publish(acks=produce_pb2.ACKS_NONE)
    assert not result.HasField("offset")
    assert not result.HasField("error")
    assert test.replica.appended == [(1, Acks.NONE)]
