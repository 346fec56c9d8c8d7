"""Watchers see topics whole or not at all, and the last of several changes of a thing."""

from __future__ import annotations

import pytest

from ottla.internal.controller.v1.controller_pb2 import BrokerRemoved, MetadataChange
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ConfigRecord,
    ControllerRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.publication import as_change, latest, replay_and_publish, snapshot
from ottla_controller.core.record_keys import Record, key_of

from .cluster_context import ClusterContext


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    cluster.published.clear()
    return cluster


def kinds(changes: list[MetadataChange]) -> list[str]:
    return [str(change.WhichOneof("change")) for change in changes]


@pytest.mark.parametrize("count", [2, 300])
def test_a_topic_appears_with_all_its_partitions_in_one_revision(
    cluster: ClusterContext, count: int
) -> None:
    cluster.create(partitions=count)
    assert kinds(cluster.published) == ["topic"] + ["partition"] * count or (
        sorted(kinds(cluster.published)) == ["partition"] * count + ["topic"]
    )
    numbers = [
        change.partition.partition for change in cluster.published if change.HasField("partition")
    ]
    assert numbers == list(range(count)), "none is missing and none comes twice"


def test_a_topic_half_written_is_not_seen(cluster: ClusterContext) -> None:
    cluster.create(partitions=300, stop_after=2)
    assert cluster.published == []
    assert kinds(list(map(as_change, snapshot(cluster.state)))) == ["cluster", "broker"]


def test_a_deleted_topic_is_told_once_and_its_sweeping_not_at_all(
    cluster: ClusterContext,
) -> None:
    topic_id = cluster.create(partitions=3).topic_id
    cluster.published.clear()
    cluster.delete("flights")
    while cluster.sweep():
        pass
    assert kinds(cluster.published) == ["topic_removed"]
    assert cluster.published[0].topic_removed.topic_id == topic_id


def test_partitions_of_a_topic_that_is_being_deleted_concern_nobody(
    cluster: ClusterContext,
) -> None:
    cluster.create()
    cluster.delete("flights")
    cluster.published.clear()
    cluster.fence(1)
    assert kinds(cluster.published) == ["broker"]


def test_brokers_controllers_and_settings_are_told(cluster: ClusterContext) -> None:
    records: list[Record] = [
        BrokerRecord(node_id=2),
        ControllerRecord(node_id=1),
        ConfigRecord(configs={"a": "b"}),
        ConfigRecord(node_id=1, configs={"a": "c"}),
    ]
    changes = [(key_of(record), record) for record in records]
    published = replay_and_publish(cluster.state, cluster.state.revision + 1, changes)
    assert kinds(published) == ["broker", "controller", "config", "config"]
    gone = replay_and_publish(
        cluster.state, cluster.state.revision + 1, [(key_of(records[0]), None)]
    )
    assert gone == [MetadataChange(broker_removed=BrokerRemoved(node_id=2))]


def test_a_snapshot_is_everything_visible_and_builds_the_same_state(
    cluster: ClusterContext,
) -> None:
    cluster.create("a", partitions=3)
    cluster.create("b", partitions=2)
    cluster.delete("a")
    found = snapshot(cluster.state)
    assert [type(record) for record in found[-3:]] == [TopicRecord] + [PartitionRecord] * 2
    assert {record.name for record in found if isinstance(record, TopicRecord)} == {"b"}


def test_of_several_changes_of_a_thing_the_last_one_is_told(cluster: ClusterContext) -> None:
    cluster.create(partitions=2)
    cluster.fence(1)
    cluster.unfence(1)
    told = latest(cluster.published)
    assert sorted(kinds(told)) == ["broker", "partition", "partition", "topic"]
    newest = {
        change.partition.partition: change.partition
        for change in told
        if change.HasField("partition")
    }
    assert newest == {number: cluster.partition(number) for number in range(2)}


def test_of_a_topic_that_came_and_went_only_its_end_is_told(cluster: ClusterContext) -> None:
    cluster.create(partitions=3)
    cluster.delete("flights")
    assert kinds(latest(cluster.published)) == ["topic_removed"]
