"""The broker's own settings while it runs: which value holds, and who is told of it."""

from __future__ import annotations

import pytest

from ottla.protocol.ids import NodeId
from ottla_broker.config import BrokerConfig
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.dynamic_settings import DynamicSettings
from ottla_runtime.broker_configs import BROKER_CONFIGS, DYNAMIC_CONFIGS
from ottla_runtime.config import load
from ottla_runtime.config_definition import ConfigDefinition, ConfigKind
from ottla_runtime.settings import field_name, is_dynamic, setting_name
from ottla_runtime.topic_configs import TOPIC_CONFIGS

from .cluster_messages import settings
from .test_broker_config import FLAGS


class Context:
    """A broker's settings over a table, and what was applied."""

    def __init__(self, *flags: str) -> None:
        self.table = ClusterTable()
        self.levels: list[str] = []
        self.settings = DynamicSettings(
            self.table,
            node_id=NodeId(1),
            static=load(BrokerConfig, [*FLAGS, *flags], {}).dynamic_settings(),
            apply={"log.level": self.levels.append},
        )

    def alter(self, node_id: int | None = None, /, **configs: str) -> None:
        names = {setting_name(name): value for name, value in configs.items()}
        self.settings.changed(self.table.apply([settings(names, node_id=node_id)]))


def test_the_broker_s_value_wins_over_the_cluster_s_and_that_over_the_start_s() -> None:
    context = Context("--auto-create-topics-enable=true")
    assert context.settings.is_on("auto.create.topics.enable")
    context.alter(auto_create_topics_enable="false")
    assert not context.settings.is_on("auto.create.topics.enable")
    context.alter(1, auto_create_topics_enable="true")
    context.alter(2, auto_create_topics_enable="false")
    assert context.settings.is_on("auto.create.topics.enable")
    context.alter(1)
    assert not context.settings.is_on("auto.create.topics.enable")


def test_a_setting_is_applied_when_it_becomes_another_and_only_then() -> None:
    context = Context("--log-level=warning")
    context.alter(log_level="warning")
    context.alter(log_level="debug")
    context.alter(log_level="debug", access_log="none")
    context.alter(1, log_level="error")
    context.alter(1)
    context.alter()
    assert context.levels == ["debug", "error", "debug", "warning"]


def test_a_snapshot_applies_what_differs_and_other_changes_nothing() -> None:
    context = Context()
    context.table.apply([settings({"log.level": "error"})])
    context.settings.changed(TableChanges(controllers=True))
    assert context.levels == []
    context.settings.changed(TableChanges(everything=True))
    assert context.levels == ["error"]


def test_a_value_this_version_refuses_leaves_the_next_source_s() -> None:
    context = Context("--log-level=warning")
    context.alter(1, log_level="trace", what_is_this="1")
    assert context.settings.value("log.level") == "warning"
    assert context.levels == []


def test_what_a_broker_calls_dynamic_the_cluster_s_table_has_and_the_other_way_round() -> None:
    dynamic = {
        setting_name(name)
        for name, field in BrokerConfig.model_fields.items()
        if is_dynamic(field.json_schema_extra)
    }
    assert dynamic == set(DYNAMIC_CONFIGS) - {"cleanup.policy"}  # nothing to choose from yet
    assert set(BROKER_CONFIGS).isdisjoint(TOPIC_CONFIGS)


@pytest.mark.parametrize("config", DYNAMIC_CONFIGS.values(), ids=lambda config: config.name)
def test_a_broker_starts_with_the_default_and_bounds_of_the_table(config: ConfigDefinition) -> None:
    field = BrokerConfig.model_fields.get(field_name(config.name))
    if field is None:
        assert config.name == "cleanup.policy"
        return
    default = "" if field.default is None else str(field.default)
    assert default.lower() == config.default.lower()
    bounds = {name: getattr(each, name) for each in field.metadata for name in ("ge", "le")
              if hasattr(each, name)}  # fmt: skip
    if config.kind is ConfigKind.INTEGER:
        assert bounds == {"ge": config.minimum, "le": config.maximum}


def test_the_controller_is_told_what_isn_t_the_default() -> None:
    assert load(BrokerConfig, FLAGS, {}).altered_topic_settings() == {}
    flags = [
        "--flush-on-ack=false",
        "--retention-ms=604800000",
        "--segment-ms=5",
        "--min-insync-replicas=1",
        "--unclean-leader-election-enable=true",
    ]
    assert load(BrokerConfig, [*FLAGS, *flags], {}).altered_topic_settings() == {
        "flush.on.ack": "false",
        "segment.ms": "5",
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "true",
    }
