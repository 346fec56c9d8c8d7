"""Settings are altered all or none a resource, and partitions follow in an order that is safe."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_OPERATION_UNSET,
    ConfigAlteration,
    ConfigAlterations,
    ConfigResource,
)
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla_controller.core import brokers
from ottla_controller.core.config_altering import alter_configs
from ottla_runtime import topic_configs
from ottla_runtime.broker_configs import DYNAMIC_CONFIGS
from ottla_runtime.config_definition import list_config

from .alterations import (
    OF_CLUSTER,
    alter,
    append,
    of_broker,
    of_topic,
    put,
    set_configs,
    subtract,
    unset,
)
from .cluster_context import ClusterContext, contents

MINIMUM, UNCLEAN = "min.insync.replicas", "unclean.leader.election.enable"


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3)
    cluster.create(assignments=[[1, 2, 3]])
    cluster.published.clear()
    return cluster


def configs(cluster: ClusterContext, node_id: int | None = None) -> dict[str, str]:
    """What is set on the cluster or a broker."""
    records = cluster.state.configs.values()
    found = [
        record for record in records
        if (record.node_id if record.HasField("node_id") else None) == node_id
    ]  # fmt: skip
    return dict(found[0].configs) if found else {}


def reason(cluster: ClusterContext, *alterations: ConfigAlteration, **options: object) -> str:
    """Why altering the topic's settings failed."""
    result = alter(cluster, of_topic(), *alterations, **options)  # type: ignore[arg-type]  # checked by what is called
    return ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")


def test_a_topic_s_settings_change_with_its_version_and_watchers_hear(
    cluster: ClusterContext,
) -> None:
    result = alter(cluster, of_topic(), put("retention.ms", "5"), put("segment.ms", "6"))
    assert (result.resource, result.HasField("error")) == (of_topic(), False)
    assert dict(cluster.topic().configs) == {"retention.ms": "5", "segment.ms": "6"}
    assert cluster.topic().version == 2
    (change,) = cluster.published
    assert dict(change.topic.configs) == {"retention.ms": "5", "segment.ms": "6"}
    alter(cluster, of_topic(), unset("retention.ms"), put("segment.ms", "7"))
    assert dict(cluster.topic().configs) == {"segment.ms": "7"}


def test_brokers_and_the_cluster_have_settings_of_topics_and_of_brokers(
    cluster: ClusterContext,
) -> None:
    set_configs(cluster, OF_CLUSTER, {"retention.ms": "5", "log.level": "debug"})
    set_configs(cluster, of_broker(2), {"access.log": "none"})
    assert configs(cluster) == {"retention.ms": "5", "log.level": "debug"}
    assert configs(cluster, 2) == {"access.log": "none"}
    assert [change.WhichOneof("change") for change in cluster.published] == ["config", "config"]
    assert reason(cluster, put("log.level", "debug")) == "INVALID_CONFIG"


def test_what_is_so_already_changes_nothing(cluster: ClusterContext) -> None:
    set_configs(cluster, OF_CLUSTER, {"retention.ms": "5"})
    before = contents(cluster.state)
    set_configs(cluster, OF_CLUSTER, {"retention.ms": "5"})
    alter(cluster, OF_CLUSTER, unset("segment.ms"))
    alter(cluster, OF_CLUSTER)
    assert contents(cluster.state) == before


def test_settings_taken_away_leave_a_record_whose_version_goes_on(cluster: ClusterContext) -> None:
    set_configs(cluster, OF_CLUSTER, {"retention.ms": "5"})
    alter(cluster, OF_CLUSTER, unset("retention.ms"))
    assert configs(cluster) == {}
    (record,) = cluster.state.configs.values()
    assert record.version == 2
    assert dict(cluster.published[-1].config.configs) == {}


@pytest.mark.parametrize(
    ("alterations", "problem"),
    [
        ([put("retention.mss", "5")], "topics have no setting 'retention.mss'; did you mean"),
        ([put("retention.ms", "5 days")], "must be a whole number"),
        ([put("flush.on.ack", "")], "must be true or false"),
        ([put("retention.ms", "1" * 2_000)], "more than 1024 characters"),
        ([unset("what")], "topics have no setting 'what'"),
        ([ConfigAlteration(name="retention.ms", operation=CONFIG_OPERATION_UNSET, value="1")],
         "unset takes no value"),
        ([append("retention.ms", "5")], "is no list"),
        ([subtract("flush.on.ack", "true")], "is no list"),
        ([append("cleanup.policy", "")], "name the items"),
        ([append("cleanup.policy", "compact")], "must be one or more of delete"),
        ([subtract("cleanup.policy", "delete")], "must be one or more of delete"),
        ([put("x" * 5_000, "1")], "topics have no setting"),
    ],
)  # fmt: skip
def test_one_wrong_alteration_leaves_the_resource_as_it_was(
    cluster: ClusterContext, alterations: Sequence[ConfigAlteration], problem: str
) -> None:
    before = contents(cluster.state)
    result = alter(cluster, of_topic(), put("segment.ms", "6"), *alterations)
    assert result.error.reason == ErrorReason.ERROR_REASON_INVALID_CONFIG
    assert problem in result.error.message
    assert len(result.error.message) < 300
    assert contents(cluster.state) == before


def test_what_is_no_operation_is_refused(cluster: ClusterContext) -> None:
    assert reason(cluster, ConfigAlteration(name="retention.ms")) == "INVALID_REQUEST"
    later = ConfigAlteration(name="retention.ms", operation=9)  # type: ignore[arg-type]  # of a later release
    assert reason(cluster, later) == "UNSUPPORTED_VERSION"
    twice = (put("retention.ms", "1"), unset("retention.ms"))
    assert reason(cluster, *twice) == "INVALID_REQUEST"
    many = [put(f"name.{number}", "1") for number in range(501)]
    assert reason(cluster, *many) == "INVALID_REQUEST"


def test_a_setting_of_a_newer_release_can_be_taken_away(cluster: ClusterContext) -> None:
    topic = cluster.topic()
    topic.configs["of.a.newer.release"] = "1"
    assert reason(cluster, put("of.a.newer.release", "2")) == "INVALID_CONFIG"
    alter(cluster, of_topic(), unset("of.a.newer.release"))
    assert dict(cluster.topic().configs) == {}


def test_a_version_that_is_not_expected_is_a_conflict(cluster: ClusterContext) -> None:
    assert reason(cluster, put("segment.ms", "6"), expected_version=2) == "VERSION_CONFLICT"
    alter(cluster, of_topic(), put("segment.ms", "6"), expected_version=1)
    assert cluster.topic().version == 2
    assert reason(cluster, put("segment.ms", "7"), expected_version=1) == "VERSION_CONFLICT"
    result = alter(cluster, OF_CLUSTER, put("segment.ms", "7"), expected_version=1)
    assert result.error.reason == ErrorReason.ERROR_REASON_VERSION_CONFLICT


def test_checking_alone_writes_nothing(cluster: ClusterContext) -> None:
    before = contents(cluster.state)
    assert reason(cluster, put("segment.ms", "x"), validate_only=True) == "INVALID_CONFIG"
    assert reason(cluster, put("segment.ms", "6"), validate_only=True) == "UNSPECIFIED"
    assert contents(cluster.state) == before


def test_resources_of_one_request_succeed_and_fail_each_for_itself(
    cluster: ClusterContext,
) -> None:
    def asked(resource: ConfigResource, value: str) -> ConfigAlterations:
        return ConfigAlterations(resource=resource, alterations=[put("segment.ms", value)])

    items = [
        asked(of_topic(), "6"), asked(of_topic("nobody"), "6"), asked(OF_CLUSTER, "x"),
        asked(of_topic(), "7"), asked(of_broker(9), "7"), asked(of_broker(3), "7"),
    ]  # fmt: skip
    results = cluster.write(alter_configs(cluster.state, items, validate_only=False))
    assert [result.HasField("error") for result in results] == [False, *[True] * 4, False]
    assert "named once" in results[3].error.message
    assert dict(cluster.topic().configs) == configs(cluster, 3) | {"segment.ms": "6"}


def test_lists_grow_and_shrink_by_items(
    cluster: ClusterContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = list_config("cleanup.policy", ("delete", "compact"), "What happens to old records.")
    table = {**topic_configs.TOPIC_CONFIGS, policy.name: policy}
    monkeypatch.setattr("ottla_controller.core.config_resources.TOPIC_CONFIGS", table)
    for alteration, value in (
        (append(policy.name, "compact"), "delete,compact"),
        (append(policy.name, "delete,compact"), "delete,compact"),
        (subtract(policy.name, "delete"), "compact"),
        (subtract(policy.name, "delete"), "compact"),
        (append(policy.name, "delete"), "compact,delete"),
    ):
        alter(cluster, of_topic(), alteration)
        assert cluster.topic().configs[policy.name] == value
    assert reason(cluster, subtract(policy.name, "delete,compact")) == "INVALID_CONFIG"


def eligible(cluster: ClusterContext) -> list[int]:
    return list(cluster.partition().eligible_leader_replicas)


@pytest.mark.parametrize("level", ["topic", "cluster"])
@pytest.mark.parametrize("value", ["1", "3"])
def test_another_minimum_ends_eligibility_before_the_leader_hears_of_it(
    cluster: ClusterContext, level: str, value: str
) -> None:
    cluster.fence(2)
    cluster.fence(3)
    assert (eligible(cluster), cluster.leader()) == ([3], 1)
    epoch = cluster.partition().partition_epoch
    cluster.published.clear()
    set_configs(cluster, of_topic() if level == "topic" else OF_CLUSTER, {MINIMUM: value})
    assert eligible(cluster) == []
    assert cluster.partition().partition_epoch == epoch + 1
    assert [change.WhichOneof("change") for change in cluster.published] == [
        "partition", "topic" if level == "topic" else "config",
    ]  # fmt: skip


def test_another_minimum_keeps_who_is_eligible_where_nobody_leads(cluster: ClusterContext) -> None:
    for node_id in (2, 3, 1):
        cluster.fence(node_id)
    assert (eligible(cluster), cluster.leader()) == ([1, 3], None)
    set_configs(cluster, of_topic(), {MINIMUM: "1"})
    assert eligible(cluster) == [1, 3]
    cluster.unfence(3)
    assert (cluster.leader(), eligible(cluster)) == (3, [])


def test_a_minimum_elsewhere_concerns_no_topic_that_has_its_own(cluster: ClusterContext) -> None:
    cluster.create("own", assignments=[[1, 2, 3]], configs={MINIMUM: "2"})
    cluster.fence(2)
    cluster.fence(3)
    set_configs(cluster, OF_CLUSTER, {MINIMUM: "1"})
    assert list(cluster.partition(topic="own").eligible_leader_replicas) == [3]
    assert eligible(cluster) == []


def without_leader(cluster: ClusterContext) -> None:
    """Only a replica that may lack records is alive."""
    set_configs(cluster, of_topic(), {"flush.on.ack": "false", MINIMUM: "1"})
    cluster.fence(1)
    cluster.fence(2)
    cluster.register(3)
    cluster.unfence(3)
    cluster.register(3)
    cluster.unfence(3)
    assert cluster.leader() is None
    assert list(cluster.partition().last_known_leader_replicas) == [3]


@pytest.mark.parametrize("level", ["topic", "broker", "cluster"])
def test_allowing_unclean_elections_elects_at_once(cluster: ClusterContext, level: str) -> None:
    without_leader(cluster)
    resource = {"topic": of_topic(), "broker": of_broker(3), "cluster": OF_CLUSTER}[level]
    set_configs(cluster, resource, {UNCLEAN: "true"})
    assert (cluster.leader(), cluster.partition().unclean) == (3, True)


def test_allowing_them_on_another_broker_elects_nobody(cluster: ClusterContext) -> None:
    without_leader(cluster)
    set_configs(cluster, of_broker(2), {UNCLEAN: "true"})
    assert cluster.leader() is None


def test_a_request_that_allows_and_forbids_goes_by_the_stronger(cluster: ClusterContext) -> None:
    without_leader(cluster)
    items = [
        ConfigAlterations(resource=OF_CLUSTER, alterations=[put(UNCLEAN, "true")]),
        ConfigAlterations(resource=of_topic(), alterations=[put(UNCLEAN, "false")]),
    ]
    cluster.write(alter_configs(cluster.state, items, validate_only=False))
    assert cluster.leader() is None


@pytest.mark.parametrize("transactions", [0, 1, 2, 3, 4])
def test_an_alteration_cut_off_anywhere_is_safe_and_ends_the_same(transactions: int) -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2)
    cluster.create(assignments=[[1, 2]] * 300, configs={MINIMUM: "2"})
    cluster.fence(2)
    alter(cluster, of_topic(), put(MINIMUM, "1"), stop_after=transactions)
    partitions = cluster.state.partitions_of(cluster.topic().topic_id).values()
    cleared = [not partition.eligible_leader_replicas for partition in partitions]
    assert cluster.topic().configs[MINIMUM] == "2" or all(cleared)
    set_configs(cluster, of_topic(), {MINIMUM: "1"})
    cluster.write(brokers.reconcile(cluster.state))
    assert not any(each.eligible_leader_replicas for each in partitions)


names = st.sampled_from([*DYNAMIC_CONFIGS, "", "no.such"]) | st.text(max_size=20)
values = st.sampled_from(["", "true", "false", "1", "delete", "debug"]) | st.text(max_size=20)
alterations = st.builds(
    ConfigAlteration, name=names, operation=st.integers(0, 6), value=values
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(st.lists(alterations, max_size=3), min_size=1, max_size=5), st.booleans())
def test_any_alterations_leave_settings_that_hold(
    requests: list[list[ConfigAlteration]], is_topic: bool
) -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1)
    cluster.create()
    for asked in requests:
        resource = of_topic() if is_topic else OF_CLUSTER
        before = contents(cluster.state)
        result = alter(cluster, resource, *asked)
        if result.HasField("error"):
            assert contents(cluster.state) == before
    for name, value in [*cluster.topic().configs.items(), *configs(cluster).items()]:
        DYNAMIC_CONFIGS[name].check(value)
