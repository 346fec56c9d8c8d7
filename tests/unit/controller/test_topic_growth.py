"""Topics get more partitions: at once for readers, evenly over brokers, safely when cut off."""

from __future__ import annotations

from collections import Counter

import pytest

from ottla.api.admin.v1.admin_pb2 import NewPartitions, TopicRef
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla_controller.core.placement import Candidate, place_more
from ottla_controller.core.publication import as_change, snapshot
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_growth import cohorts, grow_topics

from .alterations import grow
from .cluster_context import ClusterContext, contents

INVALID = ErrorReason.ERROR_REASON_INVALID_REQUEST
CONFLICT = ErrorReason.ERROR_REASON_VERSION_CONFLICT


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3)
    cluster.create(partitions=3, replicas=1)
    cluster.published.clear()
    return cluster


def preferred_leaders(cluster: ClusterContext) -> list[int]:
    topic = cluster.topic()
    return [cluster.partition(each).replicas[0].node_id for each in range(topic.partition_count)]


def seen(state: ClusterState) -> list[int]:
    """Numbers of the partitions that a watcher is shown who asks for everything."""
    changes = map(as_change, snapshot(state))
    return [change.partition.partition for change in changes if change.HasField("partition")]


@pytest.mark.parametrize("count", [4, 300])
def test_watchers_see_a_topic_grow_at_once(cluster: ClusterContext, count: int) -> None:
    result = grow(cluster, count)
    assert (result.name, result.partition_count) == ("flights", count)
    topics = [change.topic for change in cluster.published if change.HasField("topic")]
    assert [(topic.partition_count, topic.version) for topic in topics] == [(count, 2)]
    numbers = [
        change.partition.partition for change in cluster.published if change.HasField("partition")
    ]
    assert numbers == list(range(3, count)), "none of the others, none twice"
    assert cluster.published[0].HasField("topic")


def test_every_new_partition_has_a_leader_and_no_directory_yet(cluster: ClusterContext) -> None:
    grow(cluster, 6)
    for number in range(3, 6):
        partition = cluster.partition(number)
        assert partition.leader_id == partition.replicas[0].node_id == partition.isr[0]
        assert (partition.leader_epoch, partition.replicas[0].directory_id) == (1, b"")


def test_growing_to_what_there_is_succeeds_and_changes_nothing(cluster: ClusterContext) -> None:
    grow(cluster, 7)
    before = contents(cluster.state)
    for version in (0, 1):
        result = grow(cluster, 7, expected_version=version)
        assert (result.partition_count, result.HasField("error")) == (7, False)
    assert contents(cluster.state) == before


def test_the_spread_goes_on_where_it_is_thin(cluster: ClusterContext) -> None:
    grow(cluster, 100)
    assert sorted(Counter(preferred_leaders(cluster)).values()) == [33, 33, 34]
    cluster.start_brokers(4)
    grow(cluster, 120)
    counts = Counter(preferred_leaders(cluster))
    assert (counts[4], sorted(counts.values())) == (20, [20, 33, 33, 34])


def test_followers_are_spread_over_racks_as_when_a_topic_is_made() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3, 4, rack_of={1: "a", 2: "a", 3: "b", 4: "b"})
    cluster.create(partitions=4, replicas=2)
    grow(cluster, 12)
    for number in range(12):
        racks = {cluster.broker(each.node_id).rack for each in cluster.partition(number).replicas}
        assert racks == {"a", "b"}
    assert sorted(Counter(preferred_leaders(cluster)).values()) == [3, 3, 3, 3]


def test_placement_goes_on_from_any_uneven_beginning() -> None:
    candidates = [Candidate(node, "", True) for node in (1, 2, 3)]
    plans = place_more(
        candidates, preferred_leaders=[1, 1, 1, 1, 2], partition_count=7, replication_factor=1,
        seed=7,
    )  # fmt: skip
    assert Counter(plan[0] for plan in plans) == {2: 3, 3: 4}


def test_explicit_assignments_are_for_the_new_ones_alone(cluster: ClusterContext) -> None:
    assert grow(cluster, 5, assignments=[[2], [2]]).partition_count == 5
    assert preferred_leaders(cluster)[3:] == [2, 2]
    assert not grow(cluster, 5, assignments=[[2], [2]]).HasField("error"), "as asked for"
    assert grow(cluster, 5, assignments=[[2], [1]]).error.reason == INVALID, "they are elsewhere"


@pytest.mark.parametrize(
    ("count", "assignments", "problem"),
    [
        (0, [], "from 1 to 10000, not 0"),
        (10_001, [], "from 1 to 10000, not 10001"),
        (2, [], "is more than the 3 that topic 'flights' has, not 2"),
        (5, [[1]], "an item for each of 2 new partitions"),
        (4, [[1, 2]], "names 1 brokers, as the topic has replicas"),
        (4, [[9]], "which no broker has as node id"),
    ],
)
def test_what_cannot_be_says_why(
    cluster: ClusterContext, count: int, assignments: list[list[int]], problem: str
) -> None:
    before = contents(cluster.state)
    result = grow(cluster, count, assignments=assignments)
    assert (result.name, result.error.reason) == ("flights", INVALID)
    assert problem in result.error.message
    assert contents(cluster.state) == before


def test_a_broker_twice_in_one_assignment_is_refused() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2)
    cluster.create(partitions=1, replicas=2)
    assert "names each broker once" in grow(cluster, 2, assignments=[[1, 1]]).error.message


def test_the_cluster_s_limit_counts_what_the_request_adds_before(cluster: ClusterContext) -> None:
    cluster.create("other", partitions=1)
    growths = [
        NewPartitions(topic=TopicRef(name="flights"), partition_count=6),
        NewPartitions(topic=TopicRef(name="other"), partition_count=3),
        NewPartitions(topic=TopicRef(name="other"), partition_count=2),
    ]
    result = grow_topics(cluster.state, growths, cluster_partitions_max=8, validate_only=False)
    first, second, twice = cluster.write(result)
    assert first.partition_count == 6
    assert "room for 1 more partitions, not for 2" in second.error.message
    assert "named twice" in twice.error.message


def test_a_version_that_is_not_expected_is_a_conflict(cluster: ClusterContext) -> None:
    assert grow(cluster, 4, expected_version=7).error.reason == CONFLICT
    assert not grow(cluster, 4, expected_version=1).HasField("error")
    assert cluster.topic().version == 2


def test_checking_alone_writes_nothing(cluster: ClusterContext) -> None:
    before = contents(cluster.state)
    assert grow(cluster, 9, validate_only=True).partition_count == 9
    assert contents(cluster.state) == before


def test_topics_of_the_cluster_itself_never_grow(cluster: ClusterContext) -> None:
    cluster.create("__consumer_offsets", partitions=1)
    result = grow(cluster, 2, name="__consumer_offsets")
    assert result.error.reason == ErrorReason.ERROR_REASON_INVALID_TOPIC


def test_without_an_active_broker_nothing_grows_yet(cluster: ClusterContext) -> None:
    for node_id in (1, 2, 3):
        cluster.fence(node_id)
    reason = grow(cluster, 4).error.reason
    assert reason == ErrorReason.ERROR_REASON_NOT_ENOUGH_REPLICAS


@pytest.mark.parametrize("transactions", range(1, 5))
def test_a_growth_cut_off_anywhere_is_not_seen_and_swept(
    cluster: ClusterContext, transactions: int
) -> None:
    before = contents(cluster.state)
    grow(cluster, 600, stop_after=transactions)
    assert cluster.published == []
    successor = cluster.restarted()
    for state in (cluster.state, successor):
        assert seen(state) == [0, 1, 2]
        assert state.has_leftovers
    while cluster.sweep():
        pass
    assert contents(cluster.state) == before
    assert not cluster.state.has_leftovers


def test_five_transactions_hold_what_a_large_growth_writes(cluster: ClusterContext) -> None:
    grow(cluster, 600, stop_after=5)
    assert seen(cluster.state) == list(range(600))


def test_a_growth_after_one_that_was_cut_off_does_not_wait_for_the_sweep(
    cluster: ClusterContext,
) -> None:
    grow(cluster, 600, stop_after=3)
    assert not grow(cluster, 100).HasField("error")
    assert seen(cluster.state) == list(range(100))
    while cluster.sweep():
        pass
    assert sorted(cluster.state.partitions_of(cluster.topic().topic_id)) == list(range(100))
    assert cluster.state.partition_count == 100


def test_a_topic_deleted_while_something_of_its_growth_is_left_goes_whole(
    cluster: ClusterContext,
) -> None:
    grow(cluster, 600, stop_after=3)
    cluster.delete("flights")
    while cluster.sweep():
        pass
    assert cluster.state.partition_count == 0
    assert not cluster.state.topics
    assert not cluster.restarted().has_leftovers


def test_growths_come_in_portions() -> None:
    growths = [NewPartitions(partition_count=count) for count in (1_500, 400, 400, 10_000, 1)]
    assert [len(portion) for portion in cohorts(growths)] == [2, 1, 1, 1]
