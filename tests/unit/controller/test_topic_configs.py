"""The table of topic settings: sound in itself, and the same as what brokers act on."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import InvalidConfig
from ottla_broker.core.log_config import LOG_SETTINGS, LogConfig
from ottla_runtime.config_definition import ConfigDefinition, ConfigKind, list_config
from ottla_runtime.topic_configs import TOPIC_CONFIGS, check_topic_configs, default_of


@pytest.mark.parametrize("config", TOPIC_CONFIGS.values(), ids=lambda config: config.name)
def test_every_setting_has_a_sentence_and_a_default_that_fits(config: ConfigDefinition) -> None:
    assert config.doc.endswith(".") or config.doc.endswith("bound")
    if config.default:
        config.check(config.default)
    if config.kind is ConfigKind.INTEGER:
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
            if config.kind is not ConfigKind.BOOLEAN:
                setting.parse(value)


@pytest.mark.parametrize(("replicas", "minimum"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_the_fewest_in_sync_depend_on_how_many_there_are(replicas: int, minimum: str) -> None:
    assert default_of("min.insync.replicas", replication_factor=replicas) == minimum


def test_a_list_has_known_items_each_once() -> None:
    policy = list_config("cleanup.policy", ("delete", "compact"), "What happens to old records.")
    for value in ("delete", "compact", "compact,delete"):
        policy.check(value)
    for value in ("", ",", "delete,", "delete,delete", "delete, compact", "wipe"):
        with pytest.raises(InvalidConfig, match=r"cleanup\.policy"):
            policy.check(value)


def test_settings_are_checked_by_name_and_value() -> None:
    check_topic_configs({})
    check_topic_configs({"retention.ms": "-1", "compression.type": "zstd"})
    with pytest.raises(InvalidConfig, match="topics have no setting"):
        check_topic_configs({"q" * 1_000: "1"})
