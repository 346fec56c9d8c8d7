"""What a controller's messages make visible, and which of them are refused."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import InvalidRequest, StaleControllerEpoch
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.views import ClusterVersion

from .cluster_messages import (
    broker,
    cluster,
    controller,
    controller_removed,
    message,
    partition,
    removed,
    settings,
    snapshot,
    topic,
    topic_id,
)


class Following:
    def __init__(self) -> None:
        self.table = ClusterTable()
        self.follower = ClusterFollower(self.table)

    def names(self) -> list[str]:
        return self.table.names_from("")


def test_a_snapshot_is_invisible_until_it_is_whole() -> None:
    test = Following()
    changes = test.follower.receive(message(topic(1, "a"), revision=5, begin=True))
    assert (bool(changes), test.names(), test.follower.resume_after) == (False, [], None)
    changes = test.follower.receive(
        message(partition(1), cluster(), broker(1), revision=5, complete=True)
    )
    assert test.names() == ["a"]
    assert changes.everything
    assert changes.topics == {topic_id(1): "a"}
    assert test.table.cluster_id == "cluster-a"
    assert test.follower.resume_after == ClusterVersion(1, 5)


def test_a_snapshot_begun_again_forgets_the_half_one() -> None:
    test = Following()
    test.follower.receive(message(topic(1, "half"), revision=5, begin=True))
    test.follower.stream_began()
    test.follower.receive(snapshot(topic(2, "whole"), revision=6))
    assert test.names() == ["whole"]


def test_changes_before_any_snapshot_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        Following().follower.receive(message(topic(1, "a"), revision=2))


def test_a_lower_controller_epoch_is_refused_and_changes_nothing() -> None:
    test = Following()
    test.follower.receive(snapshot(epoch=7))
    with pytest.raises(StaleControllerEpoch):
        test.follower.receive(message(topic(1, "late"), revision=9, epoch=6))
    assert test.names() == []
    assert test.follower.term == (1, 7)


def test_a_new_generation_is_above_every_controller_epoch_of_the_old_one() -> None:
    test = Following()
    test.follower.receive(snapshot(epoch=700))
    test.follower.check_answer(ClusterVersion(1, 1), 700)
    test.follower.receive(message(topic(1, "a"), revision=3, generation=2, epoch=9))
    test.follower.check_answer(ClusterVersion(2, 4), 9)
    assert test.names() == ["a"]
    assert test.follower.term == (2, 9)
    with pytest.raises(StaleControllerEpoch):
        test.follower.check_answer(ClusterVersion(1, 9_000), 701)


def test_a_controller_of_an_earlier_term_than_the_metadata_shows_is_not_listened_to() -> None:
    test = Following()
    test.follower.check_answer(ClusterVersion(1, 1), 5)
    test.follower.receive(snapshot(epoch=6))
    with pytest.raises(StaleControllerEpoch):
        test.follower.check_answer(ClusterVersion(1, 9), 5)


def test_history_from_a_standby_that_lags_is_taken_as_long_as_it_goes_on() -> None:
    test = Following()
    test.follower.receive(snapshot(revision=3, epoch=5))
    test.follower.check_answer(ClusterVersion(1, 9), 6)
    test.follower.receive(message(topic(1, "a"), revision=4, epoch=5))
    test.follower.receive(message(topic(2, "b"), revision=5, epoch=0))
    assert test.names() == ["a", "b"]
    assert test.follower.term == (1, 6)


def test_a_controller_that_is_gone_is_known_no_more() -> None:
    test = Following()
    test.follower.receive(snapshot(controller(1), controller(2, epoch=7), revision=3))
    active = test.table.active_controller()
    assert active is not None
    assert active.node_id == 2
    changes = test.follower.receive(message(controller_removed(2), revision=4))
    assert changes.controllers
    assert list(test.table.controllers) == [1]
    assert test.table.active_controller() is None


def test_a_version_that_goes_back_is_refused() -> None:
    test = Following()
    test.follower.receive(snapshot(revision=10))
    with pytest.raises(StaleControllerEpoch):
        test.follower.receive(message(topic(1, "old"), revision=9))
    with pytest.raises(StaleControllerEpoch):
        test.follower.receive(snapshot(topic(1, "old"), revision=9))
    assert test.names() == []


def test_a_new_generation_is_above_every_revision_of_the_old_one() -> None:
    test = Following()
    test.follower.receive(snapshot(revision=1_000))
    test.follower.receive(message(topic(1, "a"), revision=3, generation=2))
    assert test.table.version == ClusterVersion(2, 3)


def test_a_heartbeat_moves_the_version_alone() -> None:
    test = Following()
    test.follower.receive(snapshot(topic(1, "a"), revision=3))
    changes = test.follower.receive(message(revision=8))
    assert not changes
    assert test.table.version == ClusterVersion(1, 8)


def test_a_deleted_topic_takes_its_partitions_along() -> None:
    test = Following()
    test.follower.receive(snapshot(topic(1, "a"), partition(1), revision=3))
    changes = test.follower.receive(message(removed(1), revision=4))
    assert changes.removed_topics == {topic_id(1): "a"}
    assert test.table.topic("a") is None
    assert test.table.topic_by_id(topic_id(1)) is None


def test_a_topic_created_again_keeps_its_name_when_the_old_one_goes_later() -> None:
    test = Following()
    test.follower.receive(snapshot(topic(1, "a"), revision=3))
    test.follower.receive(message(topic(2, "a"), partition(2), removed(1), revision=4))
    entry = test.table.topic("a")
    assert entry is not None
    assert entry.topic.topic_id == topic_id(2)
    assert list(entry.partitions) == [0]


def test_a_partition_may_come_before_its_topic_in_one_version() -> None:
    test = Following()
    test.follower.receive(snapshot(revision=3))
    test.follower.receive(message(partition(1, 0), topic(1, "a"), revision=4))
    entry = test.table.topic("a")
    assert entry is not None
    assert entry.partitions[0].leader_id == 1  # type: ignore[index]  # a plain number will do here


def test_a_second_snapshot_tells_what_differs() -> None:
    test = Following()
    test.follower.receive(
        snapshot(topic(1, "gone"), topic(2, "kept"), partition(2), broker(1), revision=3)
    )
    changes = test.follower.receive(
        snapshot(
            topic(2, "kept"),
            partition(2, leader=None),
            topic(3, "new"),
            partition(3),
            broker(1),
            settings({"retention.ms": "5"}),
            revision=9,
        )
    )
    assert changes.removed_topics == {topic_id(1): "gone"}
    assert changes.topics == {topic_id(3): "new"}
    assert changes.partitions == {topic_id(2): {0}, topic_id(3): {0}}
    assert (changes.brokers, changes.settings) == (set(), True)


def test_a_kind_of_change_that_is_not_known_is_left_alone() -> None:
    test = Following()
    unknown = message(revision=4)
    unknown.changes.add().ParseFromString(b"\xfa\x01\x00")  # field 31, a message
    test.follower.receive(snapshot(topic(1, "a"), revision=3))
    assert not test.follower.receive(unknown)
    assert test.names() == ["a"]


def test_merged_changes_forget_what_was_deleted_after_it_changed() -> None:
    test = Following()
    test.follower.receive(snapshot(revision=3))
    merged = test.follower.receive(message(topic(1, "a"), partition(1), revision=4))
    merged.merge(test.follower.receive(message(removed(1), revision=5)))
    assert (merged.topics, merged.partitions) == ({}, {})
    assert merged.removed_topics == {topic_id(1): "a"}
