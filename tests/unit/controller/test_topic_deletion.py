"""Deleted topics are gone for everybody at once, and for good a little later."""

from __future__ import annotations

import pytest

from ottla.api.admin.v1.admin_pb2 import TopicRef
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.protocol.errors import InvalidRequest, UnknownTopicOrPartition
from ottla.storage.metadata.v1.metadata_record_pb2 import TOPIC_STATE_DELETING
from ottla_controller.core.topic_deletion import delete_topics, find_topic

from .cluster_context import ClusterContext, contents

UNKNOWN = ErrorReason.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    return cluster


def test_a_deleted_topic_is_gone_and_its_name_free_at_once(cluster: ClusterContext) -> None:
    old = cluster.create(partitions=200)
    assert cluster.delete("flights")
    assert cluster.state.topic_named("flights") is None
    assert cluster.published[-1].topic_removed.topic_id == old.topic_id
    new = cluster.create(partitions=3)
    assert new.topic_id != old.topic_id
    assert cluster.state.topics[old.topic_id].state == TOPIC_STATE_DELETING


def test_what_is_left_of_deleted_topics_is_removed_in_portions(cluster: ClusterContext) -> None:
    cluster.create("stays", partitions=2)
    before = contents(cluster.state)
    for name in ("a", "b", "c"):
        cluster.create(name, partitions=100)
        cluster.delete(name)
    removed = []
    while count := cluster.sweep():
        removed.append(count)
    assert removed == [128, 128, 47]
    assert contents(cluster.state) == before
    assert cluster.state.partition_count == 2
    assert cluster.state.replica_count(1) == 2


def test_a_topic_whose_partitions_fill_a_portion_goes_with_the_next_one(
    cluster: ClusterContext,
) -> None:
    cluster.create(partitions=128)
    cluster.delete("flights")
    assert [cluster.sweep(), cluster.sweep(), cluster.sweep()] == [128, 1, 0]


def test_a_create_that_was_cut_off_is_removed_by_whoever_comes_next(
    cluster: ClusterContext,
) -> None:
    before = contents(cluster.state)
    cluster.create(partitions=1_000, stop_after=5)
    assert len(contents(cluster.state)) > len(before)
    successor = cluster.restarted()
    assert len(successor.unready_topic_ids) == 1
    while cluster.sweep():
        pass
    assert contents(cluster.state) == before
    assert not cluster.create(partitions=1_000).HasField("error")


def test_a_delete_by_id_never_hits_the_topic_that_took_the_name(cluster: ClusterContext) -> None:
    old = cluster.create()
    cluster.delete("flights")
    cluster.create()
    result = delete_topics(cluster.state, [TopicRef(topic_id=old.topic_id)], validate_only=False)
    assert cluster.write(result)[0].error.reason == UNKNOWN
    both = TopicRef(name="flights", topic_id=old.topic_id)
    assert (
        cluster.write(delete_topics(cluster.state, [both], validate_only=False))[0].error.reason
        == UNKNOWN
    )
    assert cluster.state.topic_named("flights") is not None


def test_each_topic_has_its_own_result(cluster: ClusterContext) -> None:
    one, two = cluster.create("one"), cluster.create("two")
    refs = [
        TopicRef(name="none"),
        TopicRef(name="one"),
        TopicRef(topic_id=two.topic_id),
        TopicRef(topic_id=one.topic_id),
    ]
    results = cluster.write(delete_topics(cluster.state, refs, validate_only=False))
    assert [result.error.reason for result in results] == [
        UNKNOWN, 0, 0, ErrorReason.ERROR_REASON_INVALID_REQUEST,
    ]  # fmt: skip
    assert [result.name for result in results[1:3]] == ["one", "two"]
    assert results[2].topic_id == two.topic_id


def test_validating_only_deletes_nothing(cluster: ClusterContext) -> None:
    cluster.create()
    before = contents(cluster.state)
    (result,) = cluster.write(
        delete_topics(cluster.state, [TopicRef(name="flights")], validate_only=True)
    )
    assert not result.HasField("error")
    assert contents(cluster.state) == before


def test_a_topic_is_named_by_its_name_its_id_or_both(cluster: ClusterContext) -> None:
    topic_id = cluster.create().topic_id
    for ref in (
        TopicRef(name="flights"),
        TopicRef(topic_id=topic_id),
        TopicRef(name="flights", topic_id=topic_id),
    ):
        assert find_topic(cluster.state, ref).name == "flights"
    for bad in (TopicRef(), TopicRef(topic_id=b"short")):
        with pytest.raises(InvalidRequest):
            find_topic(cluster.state, bad)
    with pytest.raises(UnknownTopicOrPartition, match="is 'flights', not 'trains'"):
        find_topic(cluster.state, TopicRef(name="trains", topic_id=topic_id))
