"""What is to be done to the replicas on a broker."""

from __future__ import annotations

from ottla.protocol.ids import BrokerEpoch, LeaderEpoch, NodeId, Partition, TopicId
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.replica_plan import HostedReplica, ReplicaPlan, ReplicaPlanner
from ottla_broker.metadata.topic_settings import TopicSettings

from .cluster_messages import Change, partition, removed, topic, topic_id

ME = NodeId(1)
EPOCH = BrokerEpoch(100)
KEY = (TopicId(topic_id(1)), Partition(0))
FOLLOWING = HostedReplica(LogConfig(), None)
LEADING = HostedReplica(LogConfig(), LeaderEpoch(1))


def plan(
    *changes: Change,
    hosted: dict[tuple[TopicId, Partition], HostedReplica] | None = None,
    broker_epoch: BrokerEpoch | None = EPOCH,
    topic_ids: set[TopicId] | None = None,
) -> ReplicaPlan:
    table = ClusterTable()
    table.apply(changes)
    settings = TopicSettings(table, node_id=ME, static={})
    planner = ReplicaPlanner(table, node_id=ME, settings=settings)
    return planner.plan(hosted or {}, topic_ids=topic_ids, broker_epoch=broker_epoch)


def test_a_new_replica_is_opened_and_led_under_the_epoch_of_the_metadata() -> None:
    steps = plan(topic(1, "a"), partition(1, leader_epoch=7, directory=b"d" * 16))
    assert [(each.key, each.topic, each.directory_id) for each in steps.open] == [
        (KEY, "a", b"d" * 16)
    ]
    assert [each.lead_under for each in steps.lead] == [7]
    assert (steps.resign, steps.delete, steps.reconfigure) == ([], [], [])


def test_a_replica_as_it_should_be_needs_nothing() -> None:
    steps = plan(topic(1, "a"), partition(1), hosted={KEY: LEADING})
    assert steps == ReplicaPlan()


def test_another_leader_or_none_makes_this_one_resign() -> None:
    for leader in (2, None):
        changed = partition(1, leader=leader, leader_epoch=2, replicas=(1, 2))
        steps = plan(topic(1, "a"), changed, hosted={KEY: LEADING})
        assert (steps.resign, steps.lead) == ([KEY], [])


def test_a_new_epoch_of_the_same_leader_is_resigned_and_led_anew() -> None:
    steps = plan(topic(1, "a"), partition(1, leader_epoch=2), hosted={KEY: LEADING})
    assert steps.resign == [KEY]
    assert [each.lead_under for each in steps.lead] == [2]


def test_leadership_of_an_earlier_incarnation_is_not_taken_up() -> None:
    stale = partition(1, leader_epoch=5, broker_epoch=99)
    steps = plan(topic(1, "a"), stale, hosted={KEY: LEADING})
    assert (steps.resign, steps.lead) == ([KEY], [])
    assert plan(topic(1, "a"), partition(1), broker_epoch=None).lead == []


def test_a_replica_of_a_deleted_topic_and_one_moved_away_are_deleted() -> None:
    gone = plan(topic(1, "a"), partition(1), removed(1), hosted={KEY: LEADING})
    assert (gone.resign, gone.delete) == ([], [KEY])  # its users hear that it is deleted
    moved = plan(topic(1, "a"), partition(1, leader=2, replicas=(2,)), hosted={KEY: LEADING})
    assert (moved.resign, moved.delete) == ([KEY], [KEY])


def test_replicas_of_topics_that_did_not_change_are_left_alone() -> None:
    other = (TopicId(topic_id(2)), Partition(0))
    steps = plan(
        topic(1, "a"), partition(1), hosted={KEY: FOLLOWING, other: FOLLOWING},
        topic_ids={KEY[0]},
    )  # fmt: skip
    assert steps.delete == []
    assert [each.key for each in steps.lead] == [KEY]


def test_partitions_of_other_brokers_are_none_of_this_ones_business() -> None:
    assert plan(topic(1, "a"), partition(1, leader=2, replicas=(2, 3))) == ReplicaPlan()


def test_new_settings_are_taken() -> None:
    changed = topic(1, "a", configs={"retention.ms": "5"})
    steps = plan(changed, partition(1), hosted={KEY: LEADING})
    assert [each.config.retention_ms for each in steps.reconfigure] == [5]
    assert steps.resign == []
