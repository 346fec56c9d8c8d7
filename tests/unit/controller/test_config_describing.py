"""Settings are told with every source, in pages, within their sizes."""

from __future__ import annotations

import pytest

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_RESOURCE_KIND_BROKER,
    CONFIG_RESOURCE_KIND_CLUSTER,
    CONFIG_RESOURCE_KIND_TOPIC,
    CONFIG_SOURCE_BROKER,
    CONFIG_SOURCE_CLUSTER,
    CONFIG_SOURCE_DEFAULT,
    CONFIG_SOURCE_STATIC,
    CONFIG_SOURCE_TOPIC,
    CONFIG_TYPE_BOOLEAN,
    CONFIG_TYPE_INTEGER,
    CONFIG_TYPE_LIST,
    CONFIG_TYPE_STRING,
    ConfigEntry,
    ConfigResource,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.protocol.errors import InvalidRequest
from ottla_controller.core.config_describing import describe_configs
from ottla_runtime.broker_configs import DYNAMIC_CONFIGS
from ottla_runtime.topic_configs import TOPIC_CONFIGS

from .alterations import OF_CLUSTER, of_broker, of_topic, set_configs
from .cluster_context import ClusterContext

RETENTION = "retention.ms"
MIB = 1_048_576


@pytest.fixture
def cluster() -> ClusterContext:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2)
    cluster.create(assignments=[[1], [2]])
    return cluster


def described(
    cluster: ClusterContext, resource: ConfigResource, *names: str
) -> DescribeConfigsResult:
    request = DescribeConfigsRequest(resources=[resource], names=names)
    (result,) = describe_configs(cluster.state, request).results
    assert result.resource == resource
    return result


def entry(cluster: ClusterContext, resource: ConfigResource, name: str = RETENTION) -> ConfigEntry:
    (found,) = described(cluster, resource, name).entries
    return found


def chain(found: ConfigEntry) -> list[tuple[int, str]]:
    """Sources with their values, the strongest first."""
    weaker = [(synonym.source, synonym.value) for synonym in found.synonyms]
    assert {synonym.name for synonym in found.synonyms} <= {found.name}
    return [(found.source, found.value), *weaker]


def pages(
    cluster: ClusterContext, request: DescribeConfigsRequest
) -> list[DescribeConfigsResponse]:
    found = []
    while True:
        found.append(describe_configs(cluster.state, request))
        request.page_token = found[-1].next_page_token
        if not request.page_token:
            return found


def test_a_topic_s_setting_comes_with_all_weaker_sources_in_order(cluster: ClusterContext) -> None:
    default = TOPIC_CONFIGS[RETENTION].default
    assert chain(entry(cluster, of_topic())) == [(CONFIG_SOURCE_DEFAULT, default)]
    cluster.register(1, static={RETENTION: "1"})
    cluster.unfence(1)
    set_configs(cluster, OF_CLUSTER, {RETENTION: "2"})
    set_configs(cluster, of_broker(1), {RETENTION: "3"})
    set_configs(cluster, of_broker(2), {RETENTION: "9"})
    set_configs(cluster, of_topic(), {RETENTION: "4"})
    assert chain(entry(cluster, of_topic())) == [
        (CONFIG_SOURCE_TOPIC, "4"),
        (CONFIG_SOURCE_BROKER, "3"),
        (CONFIG_SOURCE_CLUSTER, "2"),
        (CONFIG_SOURCE_STATIC, "1"),
        (CONFIG_SOURCE_DEFAULT, default),
    ]


def test_of_a_topic_without_a_leader_the_preferred_one_s_broker_speaks(
    cluster: ClusterContext,
) -> None:
    set_configs(cluster, of_broker(1), {RETENTION: "3"})
    cluster.fence(1)
    assert cluster.leader() is None
    assert entry(cluster, of_topic()).value == "3"


def test_a_broker_s_and_the_cluster_s_settings_are_told_without_what_brokers_add(
    cluster: ClusterContext,
) -> None:
    cluster.register(1, static={RETENTION: "1"})
    set_configs(cluster, OF_CLUSTER, {RETENTION: "2"})
    set_configs(cluster, of_broker(1), {RETENTION: "3"})
    default = (CONFIG_SOURCE_DEFAULT, TOPIC_CONFIGS[RETENTION].default)
    assert chain(entry(cluster, of_broker(1))) == [
        (CONFIG_SOURCE_BROKER, "3"), (CONFIG_SOURCE_CLUSTER, "2"), default,
    ]  # fmt: skip
    assert chain(entry(cluster, of_broker(2))) == [(CONFIG_SOURCE_CLUSTER, "2"), default]
    assert chain(entry(cluster, OF_CLUSTER)) == [(CONFIG_SOURCE_CLUSTER, "2"), default]


def test_every_setting_is_there_by_name(cluster: ClusterContext) -> None:
    for resource, table in (
        (of_topic(), TOPIC_CONFIGS),
        (of_broker(1), DYNAMIC_CONFIGS),
        (OF_CLUSTER, DYNAMIC_CONFIGS),
    ):
        entries = described(cluster, resource).entries
        assert [each.name for each in entries] == sorted(table)
        assert all(each.documentation and each.dynamic and not each.sensitive for each in entries)
    assert "log.level" not in TOPIC_CONFIGS


@pytest.mark.parametrize(
    ("name", "kind"),
    [("retention.ms", CONFIG_TYPE_INTEGER), ("flush.on.ack", CONFIG_TYPE_BOOLEAN),
     ("compression.type", CONFIG_TYPE_STRING), ("cleanup.policy", CONFIG_TYPE_LIST)],
)  # fmt: skip
def test_a_setting_says_how_its_value_is_written(
    cluster: ClusterContext, name: str, kind: int
) -> None:
    assert entry(cluster, of_topic(), name).type == kind


def test_the_fewest_in_sync_of_a_topic_follow_from_its_replicas() -> None:
    cluster = ClusterContext()
    cluster.start_brokers(1, 2, 3)
    cluster.create(replicas=3)
    assert entry(cluster, of_topic(), "min.insync.replicas").value == "2"
    assert entry(cluster, OF_CLUSTER, "min.insync.replicas").value == ""


def test_versions_are_those_to_expect_when_altering(cluster: ClusterContext) -> None:
    assert described(cluster, of_topic()).version == cluster.topic().version == 1
    assert described(cluster, OF_CLUSTER).version == 0
    set_configs(cluster, OF_CLUSTER, {RETENTION: "2"})
    set_configs(cluster, of_topic(), {RETENTION: "2"})
    assert described(cluster, of_topic()).version == cluster.topic().version == 2
    assert described(cluster, OF_CLUSTER).version == 1


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (ConfigResource(), "INVALID_REQUEST"),
        (ConfigResource(kind=17), "UNSUPPORTED_VERSION"),  # type: ignore[arg-type]  # of a later release
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_TOPIC), "INVALID_REQUEST"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_TOPIC, name="x"), "UNKNOWN_TOPIC_OR_PARTITION"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name="7"), "INVALID_REQUEST"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name="01"), "INVALID_REQUEST"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name="²"), "INVALID_REQUEST"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name="9" * 5_000), "INVALID_REQUEST"),
        (ConfigResource(kind=CONFIG_RESOURCE_KIND_CLUSTER, name="c"), "INVALID_REQUEST"),
    ],
)  # fmt: skip
def test_a_resource_that_is_not_there_fails_alone(
    cluster: ClusterContext, resource: ConfigResource, reason: str
) -> None:
    request = DescribeConfigsRequest(resources=[resource, of_topic()])
    failed, other = describe_configs(cluster.state, request).results
    assert ErrorReason.Name(failed.error.reason) == f"ERROR_REASON_{reason}"
    assert len(failed.resource.name) <= 250
    assert len(other.entries) == len(TOPIC_CONFIGS)


def test_a_name_that_nobody_knows_is_refused_with_the_nearest_but_not_for_brokers(
    cluster: ClusterContext,
) -> None:
    for resource in (of_topic(), OF_CLUSTER):
        error = described(cluster, resource, "retention.mss", RETENTION).error
        assert error.reason == ErrorReason.ERROR_REASON_INVALID_CONFIG
        assert "did you mean retention.ms?" in error.message
    assert [each.name for each in described(cluster, of_broker(1), "port", RETENTION).entries] == [
        RETENTION
    ]
    assert not described(cluster, of_broker(1), "port").entries


@pytest.mark.parametrize("size", [1, 7, 15, 16, 0])
def test_pages_hold_everything_once_and_in_order(cluster: ClusterContext, size: int) -> None:
    resources = [of_topic(), of_topic("nobody"), OF_CLUSTER, of_broker(1)]
    found = pages(cluster, DescribeConfigsRequest(resources=resources, page_size=size))
    told = [
        (result.resource.kind, result.resource.name, each.name)
        for page in found
        for result in page.results
        for each in result.entries
    ]
    assert told == [
        *((CONFIG_RESOURCE_KIND_TOPIC, "flights", name) for name in sorted(TOPIC_CONFIGS)),
        *((CONFIG_RESOURCE_KIND_CLUSTER, "", name) for name in sorted(DYNAMIC_CONFIGS)),
        *((CONFIG_RESOURCE_KIND_BROKER, "1", name) for name in sorted(DYNAMIC_CONFIGS)),
    ]
    failed = [result for page in found for result in page.results if result.HasField("error")]
    assert [result.resource.name for result in failed] == ["nobody"]
    for page in found:
        assert sum(len(result.entries) for result in page.results) <= (size or 500)


def test_a_thousand_resources_stay_below_a_mebibyte_a_page(cluster: ClusterContext) -> None:
    set_configs(cluster, OF_CLUSTER, {RETENTION: "2"})
    request = DescribeConfigsRequest(resources=[of_topic()] * 1_000)
    found = pages(cluster, request)
    assert max(page.ByteSize() for page in found) < MIB
    assert sum(len(result.entries) for page in found for result in page.results) == 15_000


def test_bounds_of_a_request(cluster: ClusterContext) -> None:
    for request in (
        DescribeConfigsRequest(resources=[of_topic()] * 1_001),
        DescribeConfigsRequest(resources=[of_topic()], names=["x"] * 1_001),
        DescribeConfigsRequest(resources=[of_topic()], page_size=501),
        DescribeConfigsRequest(resources=[of_topic()], page_token="made up"),
    ):
        with pytest.raises(InvalidRequest):
            describe_configs(cluster.state, request)
    token = describe_configs(
        cluster.state, DescribeConfigsRequest(resources=[of_topic(), OF_CLUSTER], page_size=16)
    ).next_page_token
    with pytest.raises(InvalidRequest, match="the same resources"):
        describe_configs(
            cluster.state, DescribeConfigsRequest(resources=[of_topic()], page_token=token)
        )
    assert not describe_configs(cluster.state, DescribeConfigsRequest()).results


def test_a_broker_that_is_not_there_is_said_not_to_be_there(cluster: ClusterContext) -> None:
    failed = described(cluster, ConfigResource(kind=CONFIG_RESOURCE_KIND_BROKER, name="7"))
    assert "no broker has '7'" in failed.error.message
