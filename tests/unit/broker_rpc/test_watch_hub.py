"""Changes of metadata on their way to clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kit.clock import ManualClock, settle
from ottla.api.metadata.v1 import metadata_pb2
from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.errors import Draining, InvalidRequest
from ottla_broker.metadata.client_view import PAGE_SIZE_MAX, ClientView
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.idle_alarms import IdleAlarms
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.metadata.watch_hub import HISTORY_TICKS_MAX, QUEUE_TICKS_MAX, WatchHub
from ottla_broker.metadata.watch_interest import WatchInterest

from .cluster_messages import (
    Change,
    broker,
    message,
    partition,
    removed,
    snapshot,
    topic,
    topic_id,
)

WatchCluster = controller_pb2.WatchClusterMetadataResponse
Response = metadata_pb2.WatchMetadataResponse


class Watching:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.table = ClusterTable()
        self.follower = ClusterFollower(self.table)
        self.alarms = IdleAlarms(clock=self.clock)
        view = ClientView(self.table, listener="public")
        self.hub = WatchHub(view, clock=self.clock, alarms=self.alarms)
        self.revision = 1
        self.follow(snapshot(broker(1), topic(1, "a"), partition(1), topic(2, "b"), partition(2)))
        self.hub.publish()

    def follow(self, response: WatchCluster) -> None:
        self.hub.changed(self.follower.receive(response))

    def change(self, *changes: Change) -> None:
        self.revision += 1
        self.follow(message(*changes, revision=self.revision))

    def stream(
        self, *names: str, prefixes: tuple[str, ...] = (), from_revision: int | None = None
    ) -> AsyncIterator[bytes]:
        interest = WatchInterest(frozenset(names), prefixes)
        version = None if from_revision is None else ClusterVersion(1, from_revision)
        return self.hub.watch(interest, version)


@asynccontextmanager
async def running(test: Watching) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(test.hub.run(), name="hub"),
            group.create_task(test.alarms.run(), name="alarms"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def following(stream: AsyncIterator[bytes]) -> Response:
    return Response.FromString(await anext(stream))


async def test_a_stream_begins_with_a_snapshot_of_what_it_follows() -> None:
    test = Watching()
    stream = test.stream("b", "missing")
    first = await following(stream)
    assert (first.snapshot_begin, first.snapshot_complete) == (True, True)
    assert [each.node_id for each in first.brokers] == [1]
    assert [(each.name, each.HasField("error")) for each in first.topics] == [
        ("b", False),
        ("missing", True),
    ]
    assert first.version.revision == 1


async def test_changes_of_twenty_milliseconds_come_together_and_others_topics_stay_away() -> None:
    test = Watching()
    stream = test.stream("a")
    await following(stream)
    async with running(test):
        test.change(partition(1, leader_epoch=2))
        test.change(partition(2, leader_epoch=2))
        test.change(partition(1, leader=None, leader_epoch=3))
        await test.clock.advance(20)
        second = await following(stream)
    assert [each.name for each in second.topics] == ["a"]
    assert [each.leader_epoch for each in second.topics[0].partitions] == [3]
    assert second.version.revision == 4


async def test_only_the_partitions_that_changed_are_told() -> None:
    test = Watching()
    test.change(topic(3, "wide", partition_count=50), *(partition(3, each) for each in range(50)))
    stream = test.stream("wide")
    assert len((await following(stream)).topics[0].partitions) == 50
    test.change(partition(3, 17, leader_epoch=2))
    test.hub.publish()
    assert [each.partition for each in (await following(stream)).topics[0].partitions] == [17]


async def test_a_topic_followed_by_prefix_is_told_when_created_and_when_deleted() -> None:
    test = Watching()
    stream = test.stream(prefixes=("team.",))
    assert not (await following(stream)).topics
    test.change(topic(3, "team.orders"), partition(3))
    test.hub.publish()
    assert [each.name for each in (await following(stream)).topics] == ["team.orders"]
    test.change(removed(3))
    test.hub.publish()
    assert list((await following(stream)).removed_topic_ids) == [topic_id(3)]


async def test_a_broker_that_is_fenced_is_removed_for_clients() -> None:
    test = Watching()
    stream = test.stream("a")
    await following(stream)
    test.change(broker(1, fenced=True))
    test.hub.publish()
    assert list((await following(stream)).removed_broker_ids) == [1]


async def test_an_idle_stream_gets_a_heartbeat_every_fifteen_seconds() -> None:
    test = Watching()
    stream = test.stream("a")
    await following(stream)
    async with running(test):
        for _ in range(2):
            waiting = asyncio.gather(following(stream))
            await test.clock.advance(14_000)
            assert not waiting.done()
            await test.clock.advance(2_000)
            (response,) = await waiting
            assert response.heartbeat
            assert response.version.revision == 1


async def test_a_watcher_that_fell_behind_gets_the_present_state_of_what_changed() -> None:
    test = Watching()
    slow = test.stream("a", "b", prefixes=("n",))
    await following(slow)
    for number in range(QUEUE_TICKS_MAX):
        test.change(partition(1, leader_epoch=number + 2))
        test.hub.publish()
    test.change(partition(2, leader_epoch=50))
    test.hub.publish()
    test.change(partition(2, leader_epoch=51), topic(3, "new"), partition(3))
    test.hub.publish()
    test.change(removed(3))
    test.hub.publish()
    responses = [await following(slow) for _ in range(QUEUE_TICKS_MAX + 1)]
    last = responses[-1]
    assert [each.partitions[0].leader_epoch for each in last.topics] == [51]
    assert list(last.removed_topic_ids) == [topic_id(3)]
    assert last.version.revision == test.revision


async def test_a_stream_resumes_without_a_snapshot() -> None:
    test = Watching()
    test.change(partition(1, leader_epoch=2))
    test.hub.publish()
    test.change(partition(2, leader_epoch=9))
    test.hub.publish()
    stream = test.stream("a", "b", from_revision=2)
    first = await following(stream)
    assert not first.snapshot_begin
    assert [(each.name, each.partitions[0].leader_epoch) for each in first.topics] == [("b", 9)]
    assert first.version.revision == 3


async def test_a_stream_too_old_to_resume_gets_a_snapshot() -> None:
    test = Watching()
    for number in range(HISTORY_TICKS_MAX + 2):
        test.change(partition(1, leader_epoch=number + 2))
        test.hub.publish()
    assert (await following(test.stream("a", from_revision=1))).snapshot_begin


async def test_a_client_ahead_of_this_broker_hears_only_what_is_newer() -> None:
    test = Watching()
    stream = test.stream("a", from_revision=3)
    assert (await following(stream)).heartbeat
    test.change(partition(1, leader_epoch=2))
    test.hub.publish()
    test.change(partition(1, leader_epoch=3))
    test.hub.publish()
    test.change(partition(1, leader_epoch=4))
    test.hub.publish()
    response = await following(stream)
    assert (response.version.revision, response.topics[0].partitions[0].leader_epoch) == (4, 4)


async def test_a_snapshot_of_twenty_thousand_partitions_comes_in_chunks() -> None:
    test = Watching()
    changes = []
    for number in range(10, 20):
        changes.append(topic(number, f"big-{number}", partition_count=2_000))
        changes += [partition(number, each, leader_epoch=2**31) for each in range(2_000)]
    for number in range(100, 5_100):
        changes.append(topic(number, f"big-{'x' * 200}-{number}"))
    test.change(*changes)
    stream = test.stream(prefixes=("big-",))
    sizes, partitions, marks = [], 0, []
    complete = False
    while not complete:
        payload = await anext(stream)
        response = Response.FromString(payload)
        sizes.append(len(payload))
        partitions += sum(len(each.partitions) for each in response.topics)
        marks.append(response.snapshot_begin)
        complete = response.snapshot_complete
    assert partitions == 20_000
    assert len(sizes) > 1
    assert max(sizes) <= PAGE_SIZE_MAX
    assert marks == [True] + [False] * (len(marks) - 1)


async def test_a_drain_ends_streams_with_its_reason() -> None:
    test = Watching()
    stream = test.stream("a")
    await following(stream)
    waiting = asyncio.gather(following(stream), return_exceptions=True)
    await settle()
    test.hub.drain()
    (error,) = await waiting
    assert isinstance(error, Draining)
    assert test.hub.watcher_count == 0


async def test_a_stream_that_is_closed_leaves_no_watcher_behind() -> None:
    test = Watching()
    stream = test.hub.watch(WatchInterest(frozenset({"a"}), ()))
    await anext(stream)
    assert test.hub.watcher_count == 1
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    assert test.hub.watcher_count == 0


def test_too_much_to_follow_is_refused() -> None:
    request = metadata_pb2.WatchMetadataRequest
    with pytest.raises(InvalidRequest):
        WatchInterest.of(request(topics=[str(number) for number in range(1_001)]))
    with pytest.raises(InvalidRequest):
        WatchInterest.of(request(topic_prefixes=["p"] * 101))
    with pytest.raises(InvalidRequest):
        WatchInterest.of(request(topic_prefixes=["p" * 250]))
