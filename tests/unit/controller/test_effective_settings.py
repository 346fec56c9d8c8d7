"""Decisions go by the strongest source of a setting: topic, broker, cluster, start, default."""

from __future__ import annotations

import pytest

from ottla.api.admin.v1.admin_pb2 import (
    DURABILITY_FLUSHED,
    DURABILITY_REPLICATED,
    DescribeTopicsRequest,
)
from ottla.protocol.errors import InvalidRequest
from ottla.storage.metadata.v1.metadata_record_pb2 import ConfigRecord
from ottla_controller.core.describing import describe_topics
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.result import Put, Result

from .alterations import OF_CLUSTER, of_broker, of_topic, set_configs
from .cluster_context import ClusterContext

FLUSH, MINIMUM, UNCLEAN = "flush.on.ack", "min.insync.replicas", "unclean.leader.election.enable"
DURABILITY = {True: DURABILITY_FLUSHED, False: DURABILITY_REPLICATED}


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3)
    return cluster


def is_flushed(cluster: ClusterContext, node_id: int = 1) -> bool:
    settings = EffectiveSettings(cluster.state)
    return settings.is_on(FLUSH, topic_id=cluster.topic().topic_id, node_id=node_id)


def minimum(cluster: ClusterContext) -> int:
    return EffectiveSettings(cluster.state).minimum_in_sync(cluster.partition())


def restart(cluster: ClusterContext, node_id: int, **static: str) -> None:
    """A broker crashes and comes back, started with these settings of topics."""
    names = {name.replace("_", "."): value for name, value in static.items()}
    cluster.register(node_id, static=names)
    assert cluster.unfence(node_id)


def promised(cluster: ClusterContext) -> int:
    return describe_topics(cluster.state, DescribeTopicsRequest()).topics[0].durability


def test_the_strongest_source_wins(cluster: ClusterContext) -> None:
    cluster.create(assignments=[[1]])
    assert is_flushed(cluster)
    restart(cluster, 1, flush_on_ack="false")
    assert not is_flushed(cluster)
    set_configs(cluster, OF_CLUSTER, {FLUSH: "true"})
    assert is_flushed(cluster)
    set_configs(cluster, of_broker(1), {FLUSH: "false"})
    assert (is_flushed(cluster, 1), is_flushed(cluster, 2)) == (False, True)
    set_configs(cluster, of_topic(), {FLUSH: "true"})
    assert is_flushed(cluster, 1)


def test_a_value_that_only_a_newer_release_knows_leaves_the_next_source_s(
    cluster: ClusterContext,
) -> None:
    cluster.create(assignments=[[1, 2, 3]])
    record = ConfigRecord(configs={MINIMUM: "half", FLUSH: "sometimes"}, version=1)
    cluster.write(Result(None, ((Put(record),),)))
    assert (minimum(cluster), is_flushed(cluster)) == (2, True)


def test_a_topic_promises_flushed_records_only_where_all_its_brokers_do(
    cluster: ClusterContext,
) -> None:
    cluster.create(assignments=[[1], [2]])
    assert promised(cluster) == DURABILITY_FLUSHED
    set_configs(cluster, of_broker(3), {FLUSH: "false"})
    assert promised(cluster) == DURABILITY_FLUSHED, "it holds no replica"
    restart(cluster, 2, flush_on_ack="false")
    assert promised(cluster) == DURABILITY_REPLICATED
    set_configs(cluster, of_topic(), {FLUSH: "true"})
    assert promised(cluster) == DURABILITY_FLUSHED


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [("true", "true", True), ("false", "false", False), ("false", "true", False),
     ("true", "false", True)],
)  # fmt: skip
def test_after_a_crash_counts_what_the_broker_s_last_life_was_started_with(
    cluster: ClusterContext, before: str, after: str, keeps: bool
) -> None:
    restart(cluster, 1, flush_on_ack=before)
    cluster.create(assignments=[[1]])
    cluster.register(1, static={FLUSH: after})
    partition = cluster.partition()
    assert list(partition.eligible_leader_replicas) == ([1] if keeps else [])
    assert list(partition.last_known_leader_replicas) == ([] if keeps else [1])


@pytest.mark.parametrize("flushed", [True, False])
def test_the_cluster_s_setting_decides_who_stays_after_a_crash(
    cluster: ClusterContext, flushed: bool
) -> None:
    set_configs(cluster, OF_CLUSTER, {FLUSH: str(flushed).lower()})
    cluster.create(assignments=[[1]])
    cluster.register(1)
    partition = cluster.partition()
    assert list(partition.eligible_leader_replicas) == ([1] if flushed else [])
    assert list(partition.last_known_leader_replicas) == ([] if flushed else [1])
    assert promised(cluster) == DURABILITY[flushed]


def test_the_minimum_is_the_lowest_of_the_brokers_that_hold_a_replica(
    cluster: ClusterContext,
) -> None:
    cluster.create(assignments=[[1, 2, 3]])
    assert minimum(cluster) == 2
    set_configs(cluster, OF_CLUSTER, {MINIMUM: "3"})
    assert minimum(cluster) == 3
    restart(cluster, 3, min_insync_replicas="1")
    assert minimum(cluster) == 3, "the cluster's wins over what a broker was started with"
    set_configs(cluster, of_broker(3), {MINIMUM: "1"})
    assert minimum(cluster) == 1
    set_configs(cluster, of_topic(), {MINIMUM: "5"})
    assert minimum(cluster) == 3, "never more than there are replicas"


def test_the_cluster_s_minimum_makes_replicas_eligible(cluster: ClusterContext) -> None:
    set_configs(cluster, OF_CLUSTER, {MINIMUM: "2"})
    cluster.create(assignments=[[1, 2]])
    cluster.fence(2)
    assert list(cluster.partition().eligible_leader_replicas) == [2]


@pytest.mark.parametrize("level", ["cluster", "broker", "start"])
def test_an_unclean_election_goes_by_the_broker_that_would_lead(
    cluster: ClusterContext, level: str
) -> None:
    static = {UNCLEAN: "true"} if level == "start" else {}
    if level != "start":
        set_configs(cluster, OF_CLUSTER if level == "cluster" else of_broker(2), {UNCLEAN: "true"})
    cluster.create(assignments=[[1, 2]], configs={FLUSH: "false", MINIMUM: "1"})
    cluster.fence(1)
    cluster.register(2, static=static)
    assert list(cluster.partition().last_known_leader_replicas) == [2]
    assert cluster.leader() is None, "it is fenced"
    cluster.unfence(2)
    assert (cluster.leader(), cluster.partition().unclean) == (2, True)


def test_what_a_broker_was_started_with_is_kept_as_far_as_it_is_understood(
    cluster: ClusterContext,
) -> None:
    cluster.register(1, static={FLUSH: "false", "retention.ms": "soon", "of.a.newer": "1"})
    assert dict(cluster.broker(1).static_topic_configs) == {FLUSH: "false"}
    with pytest.raises(InvalidRequest, match="static_topic_configs"):
        cluster.register(1, static={"x": "y" * 70_000})
