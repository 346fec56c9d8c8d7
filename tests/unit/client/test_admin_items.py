"""Answers of AdminService as the application gets them, from newer releases too."""

from __future__ import annotations

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_config_items import configs_together
from ottla.client.admin_items import cluster_description


def test_values_of_enumerations_are_words_and_those_yet_unknown_are_numbers() -> None:
    brokers = [
        admin_pb2.BrokerDescription(state=admin_pb2.BROKER_STATE_FENCED),
        admin_pb2.BrokerDescription(state=admin_pb2.BrokerState.ValueType(99)),
    ]
    described = cluster_description(admin_pb2.DescribeClusterResponse(brokers=brokers))
    assert [each.state for each in described.brokers] == ["fenced", "99"]


def test_settings_of_a_newer_release_can_be_read() -> None:
    entry = admin_pb2.ConfigEntry(
        name="retention.ms",
        source=admin_pb2.ConfigSource.ValueType(99),
        type=admin_pb2.ConfigType.ValueType(98),
    )
    kind = admin_pb2.ConfigResourceKind.ValueType(97)
    (result,) = configs_together(
        [
            admin_pb2.DescribeConfigsResult(
                resource=admin_pb2.ConfigResource(kind=kind), entries=[entry]
            )
        ]
    )
    (read,) = result.entries
    assert (result.kind, read.source, read.type) == ("97", "99", "98")
