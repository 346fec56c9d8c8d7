"""A broker's settings put together from what the controller and the broker itself tell."""

from __future__ import annotations

from pathlib import Path

from ottla.api.admin.v1 import admin_pb2
from ottla_broker.config import BrokerConfig
from ottla_broker.rpc.config_layers import made_while_running, merged_entries
from ottla_broker.rpc.static_configs import static_entries
from ottla_runtime.config import ServiceConfig, load
from ottla_runtime.settings import setting

BROKER = admin_pb2.CONFIG_SOURCE_BROKER
CLUSTER = admin_pb2.CONFIG_SOURCE_CLUSTER
STATIC = admin_pb2.CONFIG_SOURCE_STATIC
DEFAULT = admin_pb2.CONFIG_SOURCE_DEFAULT
Entry = admin_pb2.ConfigEntry
Layer = tuple[admin_pb2.ConfigSource.ValueType, str]


def entry(name: str, *layers: Layer, dynamic: bool = False, sensitive: bool = False) -> Entry:
    """An entry whose first layer is its value."""
    (source, value), *weaker = layers
    synonyms = [admin_pb2.ConfigSynonym(name=name, value=v, source=s) for s, v in weaker]
    return Entry(
        name=name,
        source=source,
        value=value,
        synonyms=synonyms,
        dynamic=dynamic,
        sensitive=sensitive,
    )


def layers(entry: Entry) -> list[Layer]:
    return [(entry.source, entry.value), *((each.source, each.value) for each in entry.synonyms)]


def test_dynamic_of_the_broker_wins_over_the_clusters_over_static_over_default() -> None:
    told = entry("retention.ms", (BROKER, "1"), (CLUSTER, "2"), (DEFAULT, "9"), dynamic=True)
    (merged,) = merged_entries([told], [entry("retention.ms", (STATIC, "3"))])
    assert layers(merged) == [(BROKER, "1"), (CLUSTER, "2"), (STATIC, "3"), (DEFAULT, "9")]
    assert merged.dynamic


def test_static_is_the_value_where_nothing_was_made_while_running() -> None:
    told = entry("retention.ms", (DEFAULT, "9"), dynamic=True)
    (merged,) = merged_entries([told], [entry("retention.ms", (STATIC, "3"))])
    assert layers(merged) == [(STATIC, "3"), (DEFAULT, "9")]
    assert merged.dynamic


def test_of_two_defaults_the_brokers_own_holds() -> None:
    told = entry("segment.ms", (CLUSTER, "5"), (DEFAULT, "9"))
    (merged,) = merged_entries([told], [entry("segment.ms", (DEFAULT, "8"))])
    assert layers(merged) == [(CLUSTER, "5"), (DEFAULT, "8")]


def test_settings_of_either_side_alone_stand_by_name() -> None:
    told = [entry("cleanup.policy", (DEFAULT, "delete"), dynamic=True)]
    own = [entry("port", (STATIC, "9092")), entry("auto", (DEFAULT, "x"))]
    merged = merged_entries(told, own)
    assert [each.name for each in merged] == ["auto", "cleanup.policy", "port"]
    assert [each.dynamic for each in merged] == [False, True, False]


def test_what_is_sensitive_on_one_side_is_told_by_neither() -> None:
    told = entry("key", (CLUSTER, "secret"), (DEFAULT, "also secret"))
    (merged,) = merged_entries([told], [entry("key", (STATIC, ""), sensitive=True)])
    assert layers(merged) == [(CLUSTER, ""), (STATIC, ""), (DEFAULT, "")]
    assert merged.sensitive


def test_of_a_silent_broker_only_what_was_made_while_running_is_known() -> None:
    told = [
        entry("b", (BROKER, "1"), (CLUSTER, "2"), (DEFAULT, "3")),
        entry("a", (DEFAULT, "9")),
    ]
    known = made_while_running(told)
    assert [(each.name, layers(each)) for each in known] == [("b", [(BROKER, "1"), (CLUSTER, "2")])]


class SecretConfig(ServiceConfig):
    service = "secretive"

    password: str = setting("", description="A secret.", secret=True)


def test_static_entries_say_source_and_type_and_no_secret() -> None:
    config = load(SecretConfig, ["--node-id", "1", "--password", "hush"], {})
    by_name = {each.name: each for each in static_entries(config)}
    assert [*by_name] == sorted(by_name)
    assert (by_name["password"].value, by_name["password"].sensitive) == ("", True)
    assert by_name["password"].source == STATIC
    assert (by_name["host"].source, by_name["host"].value) == (DEFAULT, "127.0.0.1")
    assert "hush" not in str(by_name.values())


def test_static_entries_of_a_broker_have_their_types() -> None:
    config = BrokerConfig(node_id=1, data_dir=Path("/d"), controller=("c:1", "d:2"))
    by_name = {each.name: each for each in static_entries(config)}
    assert by_name["controller"].type == admin_pb2.CONFIG_TYPE_LIST
    assert by_name["controller"].value == "c:1,d:2"
    assert by_name["flush.on.ack"].type == admin_pb2.CONFIG_TYPE_BOOLEAN
    assert by_name["retention.ms"].type == admin_pb2.CONFIG_TYPE_INTEGER
    assert by_name["ready.fd"].type == admin_pb2.CONFIG_TYPE_INTEGER
    assert by_name["compression.type"].type == admin_pb2.CONFIG_TYPE_STRING
    assert by_name["data.dir"].source == STATIC
    assert all(each.documentation for each in by_name.values())
