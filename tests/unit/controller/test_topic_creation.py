"""Topics are created whole or not at all, as asked for, within what the cluster can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.admin.v1.admin_pb2 import CreateTopicResult, NewTopic
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.protocol.errors import InvalidConfig, InvalidRequest, InvalidTopic, OttlaError
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_CREATING,
    TOPIC_STATE_READY,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.result import Put
from ottla_controller.core.topic_creation import CreationRules, cohorts, create_topics
from ottla_controller.core.topic_drafts import TopicDraft, check_items, names_asked_twice

from .cluster_context import RULES, ClusterContext, contents

EXISTS = ErrorReason.ERROR_REASON_TOPIC_EXISTS
INVALID = ErrorReason.ERROR_REASON_INVALID_REQUEST
NOT_ENOUGH = ErrorReason.ERROR_REASON_NOT_ENOUGH_REPLICAS


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    return cluster


def reason(result: CreateTopicResult) -> int:
    return result.error.reason


def test_a_small_topic_is_one_transaction_of_expected_records(cluster: ClusterContext) -> None:
    before = cluster.transaction_count
    result = cluster.create("flights", partitions=2, configs={"retention.ms": "60000"})
    assert cluster.transaction_count == before + 1
    assert result == CreateTopicResult(
        name="flights", topic_id=b"topic-0000000001", partition_count=2, replication_factor=1
    )
    assert cluster.topic() == TopicRecord(
        topic_id=b"topic-0000000001",
        name="flights",
        partition_count=2,
        replication_factor=1,
        state=TOPIC_STATE_READY,
        configs={"retention.ms": "60000"},
        version=1,
    )
    expected = PartitionRecord(
        topic_id=b"topic-0000000001",
        partition=1,
        isr=[1],
        leader_id=1,
        leader_broker_epoch=cluster.epoch(1),
        leader_epoch=1,
        partition_epoch=1,
    )
    expected.replicas.add(node_id=1)
    assert cluster.partition(1) == expected


def test_a_large_topic_is_seen_only_once_it_is_whole(cluster: ClusterContext) -> None:
    topic = NewTopic(name="large", partition_count=1_000)
    result = create_topics(
        cluster.state, [cluster.creation(topic)], rules=RULES, validate_only=False
    )
    steps = list(result.steps)
    first, last = steps[0][0], steps[-1][0]
    assert isinstance(first, Put)
    assert isinstance(first.record, TopicRecord)
    assert first.record.state == TOPIC_STATE_CREATING
    assert isinstance(last, Put)
    assert isinstance(last.record, TopicRecord)
    assert last.record.state == TOPIC_STATE_READY
    assert len(steps) == 1_002
    cluster.write(result, stop_after=7)
    assert cluster.state.topic_named("large") is None
    assert cluster.published[-1].HasField("broker"), "nobody was told"


@pytest.mark.slow
def test_a_large_topic_takes_as_few_transactions_as_fit(cluster: ClusterContext) -> None:
    before = cluster.transaction_count
    cluster.create(partitions=10_000)
    # The topic comes first and last: once as creating, once as ready.
    assert cluster.transaction_count - before == -(-10_002 // 128)
    assert [cluster.leader(number) for number in (0, 9_999)] == [1, 1]


def test_what_is_left_out_comes_from_the_rules(cluster: ClusterContext) -> None:
    rules = replace(RULES, partition_count=6, cluster_partitions_max=100)
    assert cluster.create("a", rules=rules).partition_count == 6
    assert cluster.create("b", rules=rules).replication_factor == 1
    cluster.start_brokers(2, 3, 4)
    assert cluster.create("c", rules=rules).replication_factor == 3
    fixed = replace(RULES, replication_factor=2)
    assert cluster.create("d", rules=fixed).replication_factor == 2


@pytest.mark.parametrize("fields", [{"replicas": 2}, {"assignments": [[1, 2]]}])
def test_replicas_that_nobody_would_fill_are_refused(
    cluster: ClusterContext, fields: dict[str, Any]
) -> None:
    rules = replace(RULES, replicas_max=1)
    cluster.start_brokers(2, 3)
    result = cluster.create("wide", rules=rules, **fields)
    assert result.error.reason == ErrorReason.ERROR_REASON_UNSUPPORTED_VERSION
    assert "keep 1 replica of a partition, not 2" in result.error.message
    assert cluster.create("narrow", rules=rules).replication_factor == 1


def test_repeating_a_create_that_succeeded_succeeds(cluster: ClusterContext) -> None:
    first = cluster.create(partitions=2, configs={"retention.ms": "1000"})
    before = contents(cluster.state)
    assert cluster.create(partitions=2, configs={"retention.ms": "1000"}) == first
    assert cluster.create(configs={"retention.ms": "1000"}) == first, "0 asks for nothing"
    assert cluster.create(assignments=[[1], [1]], configs={"retention.ms": "1000"}) == first
    assert contents(cluster.state) == before


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"partitions": 3}, "2 partitions"),
        ({"replicas": 2}, "1 replica"),
        ({"configs": {"retention.ms": "1"}}, "other settings"),
        ({"assignments": [[2], [2]]}, "its replicas elsewhere"),
    ],
)
def test_a_create_that_differs_from_what_exists_says_how(
    cluster: ClusterContext, fields: dict[str, object], difference: str
) -> None:
    cluster.start_brokers(2)
    cluster.create(assignments=[[1], [1]])
    result = cluster.create(**fields)  # type: ignore[arg-type]  # from the table above
    assert reason(result) == EXISTS
    assert result.error.message == f"topic 'flights' exists and has {difference}"
    assert result.error.metadata["topic"] == "flights"


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "a" * 250, "__mine", "a\n"])
def test_names_that_are_not_allowed_are_refused(name: str) -> None:
    with pytest.raises(InvalidTopic):
        TopicDraft.of(NewTopic(name=name))


def test_the_cluster_s_own_topics_are_marked_as_such(cluster: ClusterContext) -> None:
    cluster.create("__consumer_offsets", partitions=3)
    assert cluster.topic("__consumer_offsets").internal
    cluster.create("offsets")
    assert not cluster.topic("offsets").internal


def test_names_that_differ_in_dots_and_underscores_only_are_refused(
    cluster: ClusterContext,
) -> None:
    cluster.create("a.b_c")
    result = cluster.create("a_b.c")
    assert reason(result) == ErrorReason.ERROR_REASON_INVALID_TOPIC
    assert "'a.b_c'" in result.error.message
    cluster.delete("a.b_c")
    assert not cluster.create("a_b.c").HasField("error")


def test_two_such_names_in_one_request_are_refused(cluster: ClusterContext) -> None:
    creations = [cluster.creation(NewTopic(name=name)) for name in ("x.y", "x_y")]
    results = cluster.write(
        create_topics(cluster.state, creations, rules=RULES, validate_only=False)
    )
    assert [reason(result) for result in results] == [0, ErrorReason.ERROR_REASON_INVALID_TOPIC]


def test_one_bad_topic_does_not_fail_the_others(cluster: ClusterContext) -> None:
    topics = [NewTopic(name="a"), NewTopic(name="b", replication_factor=9), NewTopic(name="c")]
    results = cluster.write(
        create_topics(
            cluster.state, [cluster.creation(topic) for topic in topics], rules=RULES,
            validate_only=False,
        )
    )  # fmt: skip
    assert [reason(result) for result in results] == [0, INVALID, 0]
    assert cluster.state.ready_names == ["a", "c"]


def test_validating_only_answers_and_changes_nothing(cluster: ClusterContext) -> None:
    before = contents(cluster.state)
    result = cluster.create(partitions=7, validate_only=True)
    assert result == CreateTopicResult(name="flights", partition_count=7, replication_factor=1)
    assert contents(cluster.state) == before
    assert reason(cluster.create(replicas=2, validate_only=True)) == INVALID


def test_more_replicas_than_brokers_are_refused(cluster: ClusterContext) -> None:
    result = cluster.create(replicas=2)
    assert reason(result) == INVALID
    assert "2 replicas need as many brokers, there are 1" in result.error.message


def test_without_an_active_broker_a_create_may_be_repeated_later() -> None:
    cluster = ClusterContext()
    for _ in range(2):
        result = cluster.create()
        assert reason(result) == NOT_ENOUGH
        assert result.error.retry_after_ms == 500
        cluster.register(1)


def test_a_fenced_broker_gets_replicas_only_where_active_ones_do_not_suffice(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(2)
    cluster.register(3)
    cluster.create("two", partitions=6, replicas=2)
    cluster.create("three", partitions=6, replicas=3)
    for number in range(6):
        assert 3 not in {each.node_id for each in cluster.partition(number, topic="two").replicas}
        assert 3 not in cluster.partition(number, topic="three").isr
        assert cluster.leader(number, topic="three") in {1, 2}


def test_replicas_go_where_they_are_assigned(cluster: ClusterContext) -> None:
    cluster.start_brokers(2, 3)
    cluster.create(assignments=[[3, 1], [2, 3]])
    assert [[each.node_id for each in cluster.partition(number).replicas] for number in (0, 1)] == [
        [3, 1],
        [2, 3],
    ]
    assert [cluster.leader(number) for number in (0, 1)] == [3, 2]


@pytest.mark.parametrize(
    ("assignments", "counts", "message"),
    [
        ([[1], []], 0, "at least one broker"),
        ([[1, 1]], 0, "each broker once"),
        ([[1], [1, 2]], 0, "as many brokers as the first"),
        ([[1]], 1, "exclude partition_count"),
    ],
)
def test_assignments_that_make_no_sense_are_refused(
    assignments: list[list[int]], counts: int, message: str
) -> None:
    topic = NewTopic(name="a", partition_count=counts)
    for nodes in assignments:
        topic.assignments.add(node_ids=nodes)
    with pytest.raises(InvalidRequest, match=message):
        TopicDraft.of(topic)


def test_an_assignment_to_an_unknown_broker_is_refused(cluster: ClusterContext) -> None:
    result = cluster.create(assignments=[[9]])
    assert reason(result) == INVALID
    assert result.error.metadata["partition"] == "0"


def test_an_assignment_to_inactive_brokers_may_be_repeated_later(cluster: ClusterContext) -> None:
    cluster.register(2)
    assert reason(cluster.create(assignments=[[2]])) == NOT_ENOUGH


def test_a_topic_has_at_most_10_000_partitions() -> None:
    assert TopicDraft.of(NewTopic(name="a", partition_count=10_000)).partition_count == 10_000
    with pytest.raises(InvalidRequest) as caught:
        TopicDraft.of(NewTopic(name="a", partition_count=10_001))
    assert caught.value.field_errors[0].field == "partition_count"
    with pytest.raises(InvalidRequest, match="replication_factor"):
        TopicDraft.of(NewTopic(name="a", replication_factor=32_768))


def test_the_cluster_holds_only_so_many_partitions(cluster: ClusterContext) -> None:
    rules = CreationRules(partition_count=1, replication_factor=0, cluster_partitions_max=10)
    assert not cluster.create("a", partitions=8, rules=rules).HasField("error")
    result = cluster.create("b", partitions=3, rules=rules)
    assert reason(result) == INVALID
    assert not cluster.create("c", partitions=2, rules=rules).HasField("error")


def test_unknown_settings_name_the_nearest_one() -> None:
    with pytest.raises(InvalidConfig, match=r"did you mean retention.ms\?") as caught:
        TopicDraft.of(NewTopic(name="a", configs={"retention.mss": "1"}))
    assert caught.value.field_errors[0].field == "configs.retention.mss"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("retention.ms", "soon", "whole number"),
        ("retention.ms", "-2", "from -1 to"),
        ("retention.ms", "9" * 20, "whole number"),
        ("retention.ms", "1_000", "whole number"),
        ("max.message.bytes", "4000000", "from 1024 to 3670016"),
        ("flush.on.ack", "yes", "true or false"),
        ("compression.type", "brotli", "one of producer, none"),
        ("cleanup.policy", "compact", "one or more of delete"),
        ("min.insync.replicas", "0", "from 1 to"),
        ("retention.ms", "1" * 2_000, "more than 1024 characters"),
    ],
)
def test_settings_that_do_not_fit_say_what_fits(name: str, value: str, problem: str) -> None:
    with pytest.raises(InvalidConfig, match=problem):
        TopicDraft.of(NewTopic(name="a", configs={name: value}))


@given(st.binary(max_size=300))
def test_no_request_breaks_the_checks(data: bytes) -> None:
    topic = NewTopic(name=data.decode("latin-1"), configs={data.decode("latin-1"): "1"})
    with pytest.raises(OttlaError):
        TopicDraft.of(topic)


def test_a_request_names_each_topic_once_and_at_most_1_000() -> None:
    topics = [NewTopic(name=name) for name in "abca"]
    assert names_asked_twice(topics) == {"a"}
    check_items(topics)
    for bad in ([], topics * 251):
        with pytest.raises(InvalidRequest):
            check_items(bad)


def test_large_requests_are_written_in_portions(cluster: ClusterContext) -> None:
    sizes = [1_500, 400, 200, 10_000, 1]
    creations = [
        cluster.creation(NewTopic(name=f"t{number}", partition_count=size))
        for number, size in enumerate(sizes)
    ]
    portions = cohorts(creations, RULES)
    assert [[each.draft.partition_count for each in portion] for portion in portions] == [
        [1_500, 400],
        [200],
        [10_000],
        [1],
    ]
