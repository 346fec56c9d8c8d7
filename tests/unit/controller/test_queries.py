"""Lists and descriptions: complete, in order, a page at a time, within their sizes."""

from __future__ import annotations

import base64

import pytest

from ottla.api.admin.v1.admin_pb2 import (
    BROKER_STATE_ACTIVE,
    BROKER_STATE_DRAINING,
    BROKER_STATE_FENCED,
    DURABILITY_FLUSHED,
    DURABILITY_REPLICATED,
    DescribeTopicsRequest,
    DescribeTopicsResponse,
    ListTopicsRequest,
    TopicRef,
)
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.protocol.errors import InvalidRequest
from ottla_controller.core.describing import describe_topics
from ottla_controller.core.listing import describe_cluster, list_topics

from .cluster_context import ClusterContext

MIB = 1_048_576


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    return cluster


def names(cluster: ClusterContext, **fields: object) -> list[list[str]]:
    """Names of topics, page by page."""
    pages, token = [], ""
    while True:
        request = ListTopicsRequest(page_token=token, **fields)  # type: ignore[arg-type]  # checked by what is called
        response = list_topics(cluster.state, request)
        pages.append([topic.name for topic in response.topics])
        token = response.next_page_token
        if not token:
            return pages


def pages(cluster: ClusterContext, **fields: object) -> list[DescribeTopicsResponse]:
    """Descriptions of topics, page by page."""
    found, token = [], ""
    while True:
        request = DescribeTopicsRequest(page_token=token, **fields)  # type: ignore[arg-type]  # checked by what is called
        found.append(describe_topics(cluster.state, request))
        token = found[-1].next_page_token
        if not token:
            return found


def partitions(found: list[DescribeTopicsResponse]) -> list[tuple[str, int]]:
    return [
        (topic.name, partition.partition)
        for page in found
        for topic in page.topics
        for partition in topic.partitions
    ]


def test_topics_are_listed_by_name_and_prefix(cluster: ClusterContext) -> None:
    for name in ("b", "a.2", "a.1", "a", "c"):
        cluster.create(name)
    assert names(cluster) == [["a", "a.1", "a.2", "b", "c"]]
    assert names(cluster, prefix="a.") == [["a.1", "a.2"]]
    assert names(cluster, prefix="z") == [[]]


def test_lists_come_in_pages_without_an_empty_last_one(cluster: ClusterContext) -> None:
    for name in "abcd":
        cluster.create(name)
    assert names(cluster, page_size=2) == [["a", "b"], ["c", "d"]]
    assert names(cluster, page_size=3) == [["a", "b", "c"], ["d"]]


def test_a_topic_made_or_deleted_between_pages_disturbs_no_other(cluster: ClusterContext) -> None:
    for name in "bdf":
        cluster.create(name)
    first = list_topics(cluster.state, ListTopicsRequest(page_size=2))
    cluster.delete("d")
    cluster.create("a")
    cluster.create("e")
    rest = list_topics(cluster.state, ListTopicsRequest(page_token=first.next_page_token))
    assert [topic.name for topic in rest.topics] == ["e", "f"]


def test_the_cluster_s_own_topics_are_listed_on_demand(cluster: ClusterContext) -> None:
    cluster.create("__consumer_offsets")
    cluster.create("a")
    assert names(cluster) == [["a"]]
    assert names(cluster, include_internal=True) == [["__consumer_offsets", "a"]]


@pytest.mark.parametrize(
    "token",
    [
        "x", "%%%", "AAAA", "é" * 5, "A" * 2_000,
        base64.urlsafe_b64encode(b"[1,\"topics\",\"a\",-1]").decode(),
        base64.urlsafe_b64encode(b"[1,\"other\",\"a\",0]").decode(),
        base64.urlsafe_b64encode(b"[2,\"topics\",\"a\",0]").decode(),
        base64.urlsafe_b64encode(b"[" * 500).decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
    ],
)  # fmt: skip
def test_a_token_that_was_made_up_is_refused(cluster: ClusterContext, token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        list_topics(cluster.state, ListTopicsRequest(page_token=token))
    with pytest.raises(InvalidRequest, match="page_token"):
        describe_topics(cluster.state, DescribeTopicsRequest(page_token=token))


def test_pages_and_prefixes_have_bounds(cluster: ClusterContext) -> None:
    for request in (ListTopicsRequest(page_size=1_001), ListTopicsRequest(prefix="p" * 250)):
        with pytest.raises(InvalidRequest):
            list_topics(cluster.state, request)
    for described in (
        DescribeTopicsRequest(page_size=2_001),
        DescribeTopicsRequest(topics=[TopicRef(name="a")] * 1_001),
    ):
        with pytest.raises(InvalidRequest):
            describe_topics(cluster.state, described)


def test_a_description_shows_partitions_settings_and_the_promise(cluster: ClusterContext) -> None:
    cluster.start_brokers(2)
    cluster.create(assignments=[[1, 2]], configs={"retention.ms": "1000"})
    cluster.create("memory", configs={"flush.on.ack": "false"})
    cluster.fence(2)
    (page,) = pages(cluster)
    flights, memory = page.topics
    assert dict(flights.configs) == {"retention.ms": "1000"}
    assert (flights.durability, memory.durability) == (DURABILITY_FLUSHED, DURABILITY_REPLICATED)
    assert (flights.version, flights.replication_factor) == (1, 2)
    (partition,) = flights.partitions
    assert (partition.leader, partition.leader_epoch) == (1, 1)
    assert (list(partition.replicas), list(partition.isr)) == ([1, 2], [1])
    assert list(partition.offline_replicas) == [2]
    cluster.fence(1)
    partition = pages(cluster)[0].topics[0].partitions[0]
    assert not partition.HasField("leader")
    assert list(partition.eligible_leader_replicas) == [1]


def test_named_topics_come_in_the_order_asked_for_with_errors_between(
    cluster: ClusterContext,
) -> None:
    for name in "ab":
        cluster.create(name, partitions=2)
    refs = [TopicRef(name=name) for name in ("b", "none", "a", "b")]
    (page,) = pages(cluster, topics=refs)
    assert [topic.name for topic in page.topics] == ["b", "none", "a", "b"]
    assert [topic.error.reason for topic in page.topics] == [
        0, ErrorReason.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2_000])
@pytest.mark.parametrize("named", [True, False])
def test_pages_put_together_are_everything_once(
    cluster: ClusterContext, size: int, named: bool
) -> None:
    counts = {"a": 3, "b": 1, "c": 5}
    for name, count in counts.items():
        cluster.create(name, partitions=count)
    refs = [TopicRef(name=name) for name in counts] if named else []
    found = pages(cluster, topics=refs, page_size=size)
    assert partitions(found) == [
        (name, number) for name, count in counts.items() for number in range(count)
    ]
    assert all(sum(len(topic.partitions) for topic in page.topics) <= size for page in found)
    assert all(
        topic.partition_count == counts[topic.name] for page in found for topic in page.topics
    )


@pytest.mark.slow
def test_20_000_partitions_come_in_pages_under_a_mebibyte(cluster: ClusterContext) -> None:
    for name in ("a", "b"):
        cluster.create(name, partitions=10_000)
    found = pages(cluster)
    assert partitions(found) == [(name, number) for name in "ab" for number in range(10_000)]
    assert max(page.ByteSize() for page in found) <= MIB
    assert len(found) <= 12


@pytest.mark.slow
def test_pages_of_many_replicas_and_long_names_stay_under_a_mebibyte() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(*range(1, 101))
    for number in range(3):
        cluster.create(f"{number}" * 249, partitions=300, replicas=100)
    found = pages(cluster)
    assert len(partitions(found)) == 900
    assert max(page.ByteSize() for page in found) <= MIB


def test_errors_of_1_000_names_stay_under_a_mebibyte(cluster: ClusterContext) -> None:
    found = pages(cluster, topics=[TopicRef(name="n" * 100_000)] * 1_000)
    assert sum(len(page.topics) for page in found) == 1_000
    assert max(page.ByteSize() for page in found) <= MIB


def test_a_token_of_a_longer_list_is_refused(cluster: ClusterContext) -> None:
    cluster.create(partitions=3)
    refs = [TopicRef(name="flights")] * 3
    first = describe_topics(cluster.state, DescribeTopicsRequest(topics=refs, page_size=7))
    with pytest.raises(InvalidRequest, match="same topics"):
        describe_topics(
            cluster.state,
            DescribeTopicsRequest(topics=refs[:1], page_token=first.next_page_token),
        )


def test_the_cluster_shows_its_brokers_and_counts() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2)
    cluster.register(3, rack="r")
    cluster.create("a", partitions=4, replicas=2)
    cluster.drain(2)
    response = describe_cluster(cluster.state, active_node_id=None, metadata_store="sqlite")
    assert [(each.node_id, each.state) for each in response.brokers] == [
        (1, BROKER_STATE_ACTIVE),
        (2, BROKER_STATE_DRAINING),
        (3, BROKER_STATE_FENCED),
    ]
    assert [(each.leader_count, each.replica_count) for each in response.brokers] == [
        (4, 4), (0, 4), (0, 0),
    ]  # fmt: skip
    assert (response.topic_count, response.partition_count) == (1, 4)
    assert response.brokers[2].rack == "r"
