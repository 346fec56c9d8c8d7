"""In-sync sets, eligible leaders and elections of one partition, and who may change them."""

from __future__ import annotations

import pytest

from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.internal.controller.v1.controller_pb2 import AlterPartitionsRequest, PartitionChange
from ottla.protocol.errors import IneligibleReplica, InvalidRequest, StaleBrokerEpoch
from ottla_controller.core.isr_changes import alter_partitions

from .cluster_context import ClusterContext, directory


@pytest.fixture
def cluster() -> ClusterContext:
    """Three brokers and a topic of three replicas, of which two have to be in sync."""
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3)
    cluster.create(assignments=[[1, 2, 3]])
    return cluster


def sets(cluster: ClusterContext) -> tuple[int | None, list[int], list[int]]:
    """Leader, in-sync and eligible replicas."""
    partition = cluster.partition()
    return cluster.leader(), list(partition.isr), list(partition.eligible_leader_replicas)


def test_a_new_partition_is_led_by_its_preferred_leader_with_all_in_sync(
    cluster: ClusterContext,
) -> None:
    assert sets(cluster) == (1, [1, 2, 3], [])
    assert (cluster.partition().leader_epoch, cluster.partition().partition_epoch) == (1, 1)


def test_the_next_replica_in_sync_leads_when_the_leader_is_fenced(cluster: ClusterContext) -> None:
    cluster.fence(1)
    assert sets(cluster) == (2, [2, 3], [])
    assert cluster.partition().leader_epoch == 2


def test_a_follower_that_is_fenced_changes_no_leader_epoch(cluster: ClusterContext) -> None:
    cluster.fence(3)
    assert sets(cluster) == (1, [1, 2], [])
    assert cluster.partition().leader_epoch == 1
    assert cluster.partition().partition_epoch == 2


def test_below_the_minimum_those_who_leave_stay_eligible(cluster: ClusterContext) -> None:
    cluster.fence(3)
    cluster.fence(2)
    assert sets(cluster) == (1, [1], [2])
    cluster.fence(1)
    assert sets(cluster) == (None, [], [1, 2])


def test_an_eligible_replica_leads_when_nobody_is_in_sync(cluster: ClusterContext) -> None:
    for node_id in (3, 2, 1):
        cluster.fence(node_id)
    cluster.unfence(3)
    assert sets(cluster) == (None, [], [1, 2]), "it lacks what came after it had left"
    cluster.unfence(2)
    assert sets(cluster) == (2, [2], [1])
    assert not cluster.partition().unclean


def test_eligibility_ends_when_the_minimum_is_in_sync_again(cluster: ClusterContext) -> None:
    cluster.fence(3)
    cluster.fence(2)
    cluster.unfence(3)
    assert not cluster.alter(cluster.partition(), [1, 3]).HasField("error")
    assert sets(cluster) == (1, [1, 3], [])


def test_a_follower_that_comes_back_joins_only_when_its_leader_says_so(
    cluster: ClusterContext,
) -> None:
    cluster.fence(3)
    cluster.unfence(3)
    assert sets(cluster) == (1, [1, 2], [])
    result = cluster.alter(cluster.partition(), [1, 2, 3])
    assert list(result.record.isr) == [1, 2, 3]
    assert result.record.partition_epoch == cluster.partition().partition_epoch == 3


def test_a_shrink_below_the_minimum_makes_who_left_eligible(cluster: ClusterContext) -> None:
    result = cluster.alter(cluster.partition(), [1])
    assert list(result.record.eligible_leader_replicas) == [2, 3]
    assert result.record.leader_epoch == 1


def test_repeating_a_change_that_was_taken_conflicts_and_shows_the_record(
    cluster: ClusterContext,
) -> None:
    before = cluster.partition()
    cluster.alter(before, [1, 2])
    again = cluster.alter(before, [1, 2])
    assert again.error.reason == ErrorReason.ERROR_REASON_VERSION_CONFLICT
    assert list(again.record.isr) == [1, 2]


def test_a_change_of_another_leader_or_leader_epoch_is_refused_with_the_leader(
    cluster: ClusterContext,
) -> None:
    partition = cluster.partition()
    other = cluster.alter(partition, [1, 2], leader=2)
    assert other.error.reason == ErrorReason.ERROR_REASON_NOT_LEADER
    assert other.error.metadata["leader_id"] == "1"
    stale = cluster.alter(partition, [1, 2], leader_epoch=0)
    assert stale.error.reason == ErrorReason.ERROR_REASON_STALE_LEADER_EPOCH
    assert stale.error.metadata["leader_epoch"] == "1"
    assert sets(cluster) == (1, [1, 2, 3], [])


def test_fenced_draining_and_stale_members_cannot_join(cluster: ClusterContext) -> None:
    old_epoch = cluster.epoch(3)
    cluster.fence(3)
    fenced = cluster.alter(cluster.partition(), [1, 2, 3])
    assert fenced.error.reason == ErrorReason.ERROR_REASON_INELIGIBLE_REPLICA
    cluster.register(3)
    cluster.unfence(3)
    stale = cluster.alter(cluster.partition(), [1, 2, 3], epochs={3: old_epoch})
    assert stale.error.reason == ErrorReason.ERROR_REASON_INELIGIBLE_REPLICA
    cluster.drain(3)
    draining = cluster.alter(cluster.partition(), [1, 2, 3])
    assert draining.error.reason == ErrorReason.ERROR_REASON_INELIGIBLE_REPLICA
    assert sets(cluster) == (1, [1, 2], [])


@pytest.mark.parametrize("isr", [[2, 3], [1, 1], [1, 4], []])
def test_an_in_sync_set_is_of_replicas_with_the_leader(
    cluster: ClusterContext, isr: list[int]
) -> None:
    cluster.start_brokers(4)
    result = cluster.alter(cluster.partition(), isr)
    assert result.error.reason == ErrorReason.ERROR_REASON_INVALID_REQUEST


def test_a_change_of_an_unknown_partition_is_an_error_of_its_own(cluster: ClusterContext) -> None:
    good, bad = cluster.partition(), cluster.partition()
    bad = type(bad).FromString(bad.SerializeToString())
    bad.partition = 9
    result = cluster.alter(bad, [1])
    assert result.error.reason == ErrorReason.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION
    assert not cluster.alter(good, [1, 2]).HasField("error")


def test_a_leader_of_an_older_registration_changes_nothing(cluster: ClusterContext) -> None:
    request = AlterPartitionsRequest(node_id=1, broker_epoch=cluster.epoch(1) - 1)
    with pytest.raises(StaleBrokerEpoch):
        alter_partitions(cluster.state, request)


def test_a_request_has_bounds_and_names_a_partition_once(cluster: ClusterContext) -> None:
    topic_id = cluster.topic().topic_id
    one = PartitionChange(topic_id=topic_id, partition=0)
    for changes in ([one, one], [one] * 1_001):
        request = AlterPartitionsRequest(node_id=1, broker_epoch=cluster.epoch(1), changes=changes)
        with pytest.raises(InvalidRequest):
            alter_partitions(cluster.state, request)


def test_a_new_replica_is_in_no_directory_until_its_broker_says(cluster: ClusterContext) -> None:
    assert [each.directory_id for each in cluster.partition().replicas] == [b""] * 3
    cluster.assign(2, {0: directory(2)})
    assert [each.directory_id for each in cluster.partition().replicas] == [
        b"", directory(2), b"",
    ]  # fmt: skip


def test_a_broker_with_several_directories_says_which_one_it_chose(
    cluster: ClusterContext,
) -> None:
    cluster.register(4, directories=[directory(4, 1), directory(4, 2)])
    cluster.unfence(4)
    cluster.delete("flights")
    cluster.create(assignments=[[4]])
    assert cluster.partition().replicas[0].directory_id == b""
    before = cluster.partition().partition_epoch
    cluster.assign(4, {0: directory(4, 2)})
    assert cluster.partition().replicas[0].directory_id == directory(4, 2)
    assert cluster.partition().partition_epoch == before + 1
    cluster.assign(4, {0: directory(4, 2)})
    assert cluster.partition().partition_epoch == before + 1


def test_a_replica_that_counts_stays_in_its_directory(cluster: ClusterContext) -> None:
    cluster.assign_all()
    cluster.register(1, directories=[directory(1), directory(1, 2)])
    cluster.unfence(1)
    cluster.alter(cluster.partition(), [*cluster.partition().isr, 1])
    with pytest.raises(IneligibleReplica):
        cluster.assign(1, {0: directory(1, 2)})


def test_a_replica_that_begins_anew_elsewhere_is_no_last_known_leader_any_more() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    cluster.create()
    cluster.assign_all()
    cluster.register(1, directories=[directory(1, 9)])
    cluster.unfence(1)
    assert list(cluster.partition().last_known_leader_replicas) == [1]
    cluster.assign(1, {0: directory(1, 9)})
    assert list(cluster.partition().last_known_leader_replicas) == []
    cluster.register(1, directories=[directory(1, 9)])
    cluster.unfence(1)
    assert cluster.leader() is None


def test_directories_that_the_broker_does_not_have_are_refused(cluster: ClusterContext) -> None:
    with pytest.raises(InvalidRequest, match="is a directory that the broker registered"):
        cluster.assign(1, {0: directory(2)})


def test_partitions_that_are_gone_are_passed_over(cluster: ClusterContext) -> None:
    cluster.assign(1, {77: directory(1)})
    assert cluster.state.partition(cluster.topic().topic_id, 77) is None
