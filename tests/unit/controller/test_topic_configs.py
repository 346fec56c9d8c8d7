"""The table of topic settings: sound in itself, and the same as what brokers act on."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import InvalidConfig
from ottla_broker.core.log_config import LOG_SETTINGS, LogConfig
from ottla_runtime.topic_configs import (
    TOPIC_CONFIGS,
    TopicConfig,
    TopicConfigType,
    check_topic_configs,
    is_on,
    min_insync_replicas,
)


@pytest.mark.parametrize("config", TOPIC_CONFIGS.values(), ids=lambda config: config.name)
def test_every_setting_has_a_sentence_and_a_default_that_fits(config: TopicConfig) -> None:
    assert config.doc.endswith(".") or config.doc.endswith("bound")
    if config.default:
        config.check(config.default)
    if config.type is TopicConfigType.INTEGER:
        for outside in (config.minimum - 1, config.maximum + 1):
            with pytest.raises(InvalidConfig):
                config.check(str(outside))


def test_what_a_broker_acts_on_is_in_the_table_with_the_same_default() -> None:
    told = {name: config.default for name, config in TOPIC_CONFIGS.items() if name in LOG_SETTINGS}
    assert set(told) == set(LOG_SETTINGS)
    assert LogConfig.from_settings(told) == LogConfig()


def test_what_the_table_allows_a_broker_accepts() -> None:
    for name, setting in LOG_SETTINGS.items():
        config = TOPIC_CONFIGS[name]
        for value in config.choices or (str(config.minimum), str(config.maximum)):
            if config.type is not TopicConfigType.BOOLEAN:
                setting.parse(value)


def test_booleans_fall_back_to_their_defaults() -> None:
    assert is_on({}, "flush.on.ack")
    assert not is_on({"flush.on.ack": "false"}, "flush.on.ack")
    assert not is_on({}, "unclean.leader.election.enable")


@pytest.mark.parametrize(
    ("configs", "replicas", "minimum"),
    [({}, 1, 1), ({}, 2, 1), ({}, 3, 2), ({}, 5, 2),
     ({"min.insync.replicas": "3"}, 2, 2), ({"min.insync.replicas": "1"}, 3, 1)],
)  # fmt: skip
def test_the_minimum_in_sync_is_never_more_than_there_are(
    configs: dict[str, str], replicas: int, minimum: int
) -> None:
    assert min_insync_replicas(configs, replication_factor=replicas) == minimum


def test_settings_are_checked_by_name_and_value() -> None:
    check_topic_configs({})
    check_topic_configs({"retention.ms": "-1", "compression.type": "zstd"})
    with pytest.raises(InvalidConfig, match="topics have no setting"):
        check_topic_configs({"q" * 1_000: "1"})
