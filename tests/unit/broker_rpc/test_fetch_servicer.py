"""The course of a ListOffsets call at a broker whose replicas are not ready yet."""

from __future__ import annotations

import asyncio
from typing import Any

from kit.clock import ManualClock, settle
from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import UnknownTopicOrPartition
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.fetch_servicer import FetchServicer
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.reader import ReadWaits
from ottla_broker.rpc.records_budget import RecordsBudget
from unit.broker_sessions.producing import InlineOffload

from .cluster_messages import broker, partition, topic

ME = NodeId(1)
COUNT = 20


class CountedWaiters(VersionWaiters):
    """Knows how many wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting_count = 0

    async def wait_for(self, version: ClusterVersion) -> None:
        self.waiting_count += 1
        await super().wait_for(version)


class CallContext:
    """As much of a call's context as ListOffsets looks at."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> float | None:
        return None


def _not_open(topic_id: bytes, number: int) -> Replica:
    raise UnknownTopicOrPartition(f"no replica of partition {number} is here")


def _no_channel(endpoint: object) -> Any:
    raise AssertionError("nothing is passed on here")


async def test_queries_wait_together_for_leaders_that_are_not_ready_yet() -> None:
    table, applied, clock = ClusterTable(), CountedWaiters(), ManualClock()
    partitions = [partition(1, number) for number in range(COUNT)]
    table.apply([broker(1), topic(1, "a", partition_count=COUNT), *partitions])
    table.version = ClusterVersion(1, 2)
    view = ClientView(table, listener="public")
    servicer = FetchServicer(
        PartitionRouter(view, node_id=ME, find_replica=_not_open, applied=applied),
        PeerChannels(table, listener="public", open_channel=_no_channel),
        node_id=ME,
        waits=ReadWaits(idle_ms=15_000),
        records=RecordsBudget(),
        offload=InlineOffload(),
        clock=clock,
        idle_ms=15_000,
        trusts_forwarded=False,
    )
    earliest = fetch_pb2.OFFSET_POSITION_EARLIEST
    queries = [
        fetch_pb2.OffsetQuery(topic="a", partition=number, position=earliest)
        for number in range(COUNT)
    ]
    context: Any = CallContext()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(
            servicer.ListOffsets(fetch_pb2.ListOffsetsRequest(queries=queries), context)
        )
        await settle()
        assert applied.waiting_count == COUNT
        applied.reached(table.version)
    results = asking.result().results
    assert [each.partition for each in results] == list(range(COUNT))
    assert {from_proto(each.error).reason for each in results} == {"LEADER_NOT_AVAILABLE"}
