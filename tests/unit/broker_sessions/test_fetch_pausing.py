"""A fetch session whose subscription is paused and resumed before its start is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from kit.clock import ManualClock, settle
from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.rpc.fetch_session import FetchSessions
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.storage.log_reader import TimedOffset
from unit.broker_rpc.cluster_messages import broker, partition, topic

START = 5
Request = fetch_pb2.FetchRequest


class SlowReplica:
    """Led here; finds the offset of a time once it `may_find`, and has nothing behind it."""

    leader_epoch = 1
    error = None
    log_start_offset = 0
    high_watermark = log_end_offset = START

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_find = asyncio.Event()
        self.read_offsets: list[int] = []

    async def offset_for_time(self, timestamp_ms: int) -> TimedOffset:
        self.asked.set()
        await self.may_find.wait()
        return TimedOffset(START, timestamp_ms, 1)

    async def read(self, offset: int, *, max_bytes: int) -> None:
        self.read_offsets.append(offset)

    async def wait_for(self, offset: int, *, on_ready: Callable[[], None]) -> None:
        await asyncio.get_running_loop().create_future()


class Client:
    """What a client hears."""

    def __init__(self) -> None:
        self.heard: list[fetch_pb2.FetchResponse] = []

    async def write(self, message: fetch_pb2.FetchResponse) -> None:
        self.heard.append(message)


def _paused(paused: bool) -> Request:
    return Request(set_paused=fetch_pb2.SetPaused(subscription_ids=[1], paused=paused))


async def test_a_subscription_resumed_before_its_start_is_found_reads_nothing_before_it() -> None:
    table = ClusterTable()
    table.apply([broker(1), topic(1, "a"), partition(1)])
    replica, client, clock = SlowReplica(), Client(), ManualClock()
    router = PartitionRouter(
        ClientView(table, listener="public"),
        node_id=NodeId(1),
        find_replica=lambda topic_id, number: replica,  # type: ignore[arg-type,return-value]  # a stand-in
        applied=VersionWaiters(),
    )
    sessions = FetchSessions(router, clock=clock, idle_ms=2_000)
    context: Any = client

    async def requests() -> AsyncIterator[Request]:
        yield Request(open=fetch_pb2.OpenSession())
        yield Request(credit=fetch_pb2.GrantCredit(size_bytes=1 << 20))
        start = fetch_pb2.ReadStart(timestamp_ms=7)
        yield Request(subscribe=fetch_pb2.Subscribe(subscription_id=1, topic="a", start=start))
        await replica.asked.wait()
        yield _paused(True)
        yield _paused(False)
        await settle()
        replica.may_find.set()
        await settle()

    await sessions.serve(requests(), context)
    assert replica.read_offsets == []
    assert [each.subscribed.next_offset for each in client.heard] == [START]
