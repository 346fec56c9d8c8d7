"""The course of DeleteRecords: what is led here, what elsewhere, and leaders that move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import from_proto, to_proto
from ottla.protocol.errors import InvalidRequest, NotLeader, OffsetOutOfRange, OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.rpc.forwarded_calls import Forwarded
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.record_deletion import RecordDeletion

from .cluster_messages import broker, partition, removed, topic, topic_id
from .scripted_brokers import ScriptedBrokers

Item = admin_pb2.RecordsToDelete
Result = admin_pb2.DeleteRecordsResult


class JumpingClock(ManualClock):
    """Whoever sleeps is woken at once, and it is as late as they wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.on_sleep: Callable[[], object] = list

    async def sleep_until(self, monotonic_ms: int) -> None:
        self.on_sleep()
        self.tick(max(0, monotonic_ms - self.monotonic_ms()))


class ScriptedReplica:
    """Led here; its start moves up to 10, or fails as the test says."""

    def __init__(self) -> None:
        self.topic = "a"
        self.leader_epoch: int | None = 1
        self.error: OttlaError | None = None
        self.outcomes: list[OttlaError] = []
        self.never_answers = False
        self.asked: list[int | None] = []

    async def delete_records(self, before_offset: int | None) -> int:
        self.asked.append(before_offset)
        if self.never_answers:
            await asyncio.get_running_loop().create_future()
        if self.outcomes:
            raise self.outcomes.pop(0)
        return 10 if before_offset is None else before_offset


class Deletion:
    """Topic `a` is led here in partition 0, by broker 2 in partition 1, by nobody in 2."""

    def __init__(self) -> None:
        self.table = ClusterTable()
        self.table.apply(
            [
                *(broker(1), broker(2), broker(3), topic(1, "a", partition_count=3)),
                *(partition(1), partition(1, 1, leader=2), partition(1, 2, leader=None)),
            ]
        )
        self.replica = ScriptedReplica()
        self.brokers = ScriptedBrokers(self.table)
        self.brokers.answers[2] = done
        self.clock = JumpingClock()
        router = PartitionRouter(
            ClientView(self.table, listener="public"),
            node_id=NodeId(1),
            find_replica=lambda topic_id, number: self.replica,  # type: ignore[arg-type,return-value]  # a stand-in
            applied=VersionWaiters(),
        )
        self.deletion = RecordDeletion(
            router, self.brokers, clock=self.clock, entropy=SeededEntropy()
        )

    async def delete(self, *items: Item, within_ms: int = 1_000) -> list[Result]:
        deadline_ms = self.clock.monotonic_ms() + within_ms
        return await self.deletion.delete(items, principal="User:x", deadline_ms=deadline_ms)


def item(number: int = 0, before: int = 3, **ref: Any) -> Item:
    return Item(
        topic=admin_pb2.TopicRef(**(ref or {"name": "a"})), partition=number, before_offset=before
    )


Answer = broker_pb2.DeleteReplicaRecordsResponse


def done(request: broker_pb2.DeleteReplicaRecordsRequest) -> Answer:
    results = [
        Result(topic="a", partition=each.partition, log_start_offset=each.before_offset)
        for each in request.partitions
    ]
    return Answer(results=results)


def refused(error: OttlaError) -> Callable[[Any], Answer]:
    result = Result(topic="a", partition=1, error=to_proto(error))
    return lambda _: Answer(results=[result])


def reasons(results: list[Result]) -> list[str]:
    return [from_proto(one.error).reason if one.HasField("error") else "" for one in results]


async def test_partitions_are_deleted_from_here_and_at_their_leaders_in_the_order_asked() -> None:
    test = Deletion()
    results = await test.delete(item(1, 5), item(0, 3))
    assert [(each.partition, each.log_start_offset) for each in results] == [(1, 5), (0, 3)]
    assert reasons(results) == ["", ""]
    assert test.replica.asked == [3]
    ((node, request),) = test.brokers.asked
    assert node == 2
    assert [each.topic.topic_id for each in request.partitions] == [topic_id(1)]
    assert test.brokers.principals == {"User:x"}


async def test_minus_one_means_the_high_watermark() -> None:
    test = Deletion()
    (result,) = await test.delete(item(0, -1))
    assert (test.replica.asked, result.log_start_offset) == ([None], 10)


@pytest.mark.parametrize("ref", [{"topic_id": topic_id(1)}, {"name": "a", "topic_id": topic_id(1)}])
async def test_a_topic_is_meant_by_id_too(ref: dict[str, Any]) -> None:
    (result,) = await Deletion().delete(item(0, 3, **ref))
    assert (result.topic, result.log_start_offset) == ("a", 3)


@pytest.mark.parametrize(
    ("ref", "number", "reason"),
    [
        ({"name": "no-such"}, 0, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"name": "a"}, 9, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"topic_id": topic_id(9)}, 0, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"name": "a", "topic_id": topic_id(9)}, 0, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"name": "not a name!"}, 0, "INVALID_TOPIC"),
        ({"topic_id": b"short"}, 0, "INVALID_REQUEST"),
        ({"name": ""}, 0, "INVALID_REQUEST"),
    ],
)
async def test_what_is_not_there_fails_alone(ref: dict[str, Any], number: int, reason: str) -> None:
    results = await Deletion().delete(item(number, 3, **ref), item(0, 3))
    assert reasons(results) == [reason, ""]


async def test_an_offset_out_of_range_says_what_the_partition_holds() -> None:
    test = Deletion()
    bounds = {"earliest_offset": 2, "latest_offset": 8}
    test.replica.outcomes = [OffsetOutOfRange("outside", metadata=bounds)]
    (result,) = await test.delete(item(0, 9))
    error = from_proto(result.error)
    assert (error.topic, error.partition) == ("a", 0)
    assert error.metadata["latest_offset"] == "8"
    assert test.replica.asked == [9]


async def test_a_leader_that_moved_is_looked_up_again() -> None:
    test = Deletion()
    test.brokers.answers[2] = refused(NotLeader("not any more"))
    test.brokers.answers[3] = done
    test.clock.on_sleep = lambda: test.table.apply([partition(1, 1, leader=3, leader_epoch=2)])
    (result,) = await test.delete(item(1, 4))
    assert (reasons([result]), result.log_start_offset) == ([""], 4)
    assert [node for node, _ in test.brokers.asked] == [2, 3]


async def test_only_what_may_pass_is_tried_again() -> None:
    test = Deletion()
    test.replica.outcomes = [NotLeader("resigned")]
    results = await test.delete(item(0, 3), item(1, 5), item(9))
    assert reasons(results) == ["", "", "UNKNOWN_TOPIC_OR_PARTITION"]
    assert (len(test.replica.asked), len(test.brokers.asked)) == (2, 1)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_partition_without_a_leader_fails_once_the_time_is_over(number: int) -> None:
    test = Deletion()
    del test.brokers.answers[2]
    started_ms = test.clock.monotonic_ms()
    results = await test.delete(item(number), item(0), within_ms=2_000)
    assert reasons(results) == ["LEADER_NOT_AVAILABLE", ""]
    assert test.clock.monotonic_ms() - started_ms <= 2_000
    assert test.replica.asked == [3]


async def test_a_start_that_does_not_become_durable_in_time_is_an_unknown_outcome() -> None:
    test = Deletion()
    test.replica.never_answers = True
    (result,) = await test.delete(item(0), within_ms=1)
    assert reasons([result]) == ["OUTCOME_UNKNOWN"]


async def test_a_leader_that_is_not_ready_here_is_waited_for_no_longer_than_the_call() -> None:
    test = Deletion()
    test.replica.leader_epoch = None
    test.table.version = ClusterVersion(1, 1)  # which does not show here yet
    results = await test.delete(item(0), item(1, 5), within_ms=1)
    assert reasons(results) == ["LEADER_NOT_AVAILABLE", ""]


async def test_an_answer_that_does_not_fit_is_an_unknown_outcome() -> None:
    test = Deletion()
    test.brokers.answers[2] = lambda _: Answer()
    assert reasons(await test.delete(item(1))) == ["OUTCOME_UNKNOWN"]


async def test_a_topic_deleted_meanwhile_is_unknown() -> None:
    test = Deletion()
    test.brokers.answers[2] = refused(NotLeader("not any more"))
    test.clock.on_sleep = lambda: test.table.apply([removed(1)])
    assert reasons(await test.delete(item(1))) == ["UNKNOWN_TOPIC_OR_PARTITION"]


async def test_a_partition_asked_for_twice_is_refused_both_times() -> None:
    test = Deletion()
    assert reasons(await test.delete(item(0, 1), item(0, 2), item(1))) == [
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "",
    ]
    assert test.replica.asked == []


async def test_more_than_a_thousand_partitions_are_refused_as_a_whole() -> None:
    with pytest.raises(InvalidRequest):
        await Deletion().delete(*(item(number) for number in range(1_001)))


async def test_what_a_broker_passed_on_is_never_passed_on_again() -> None:
    test = Deletion()
    forwarded = Forwarded(by_broker=True, min_version=None)
    results = await test.deletion.delete_here(
        [item(0), item(1)], forwarded=forwarded, deadline_ms=test.clock.monotonic_ms() + 1_000
    )
    assert reasons(results) == ["", "NOT_LEADER"]
    assert from_proto(results[1].error).metadata["leader_id"] == "2"
    assert test.brokers.asked == []
