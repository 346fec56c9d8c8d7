"""The broker's settings: where they come from, and how they have to fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla_broker.config import BrokerConfig
from ottla_broker.core.log_config import LOG_SETTINGS, LogConfig
from ottla_runtime.config import load
from ottla_runtime.config_sources import ConfigError

FLAGS = ["--node-id", "1", "--data-dir", "/data", "--controller", "ctl:9093"]


def test_the_defaults_are_those_of_the_contracts() -> None:
    config = load(BrokerConfig, FLAGS, {})
    assert config.port == 9092
    assert not config.auto_create_topics_enable
    assert config.log_directories() == (Path("/data/logs"),)
    assert [(each.listener, each.port) for each in config.listeners()] == [("public", 9092)]
    assert LogConfig.from_settings(config.topic_settings()) == LogConfig()
    assert set(config.topic_settings()) == set(LOG_SETTINGS)


def test_topic_settings_and_disks_are_taken_from_flags_and_variables() -> None:
    flags = [*FLAGS, "--log-dirs", "/a", "--log-dirs", "/b", "--retention-ms=5"]
    variables = {"OTTLA_BROKER__SEGMENT_BYTES": "4096", "OTTLA_BROKER_PORT": "tcp://10.0.0.1:9092"}
    config = load(BrokerConfig, flags, variables)
    assert config.log_directories() == (Path("/a"), Path("/b"))
    log = LogConfig.from_settings(config.topic_settings())
    assert (log.retention_ms, log.segment_bytes) == (5, 4096)


def test_controllers_may_leave_their_port_out() -> None:
    config = load(BrokerConfig, [*FLAGS, "--controller", "[::1]"], {})
    assert [(each.host, each.port) for each in config.controllers()] == [
        ("ctl", 9093),
        ("::1", 9093),
    ]


def test_only_a_listener_of_their_own_lets_services_speak_for_others() -> None:
    one = load(BrokerConfig, FLAGS, {})
    assert not one.is_for_services("public")
    two = load(
        BrokerConfig,
        [
            *FLAGS,
            "--listener=public=0.0.0.0:9092",
            "--listener=inside=10.0.0.1:9192",
            "--inter-broker-listener=inside",
        ],
        {},
    )
    assert (two.is_for_services("inside"), two.is_for_services("public")) == (True, False)
    assert two.broker_listener() == "inside"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--node-id=1", "--data-dir=/d"], "controller"),
        ([*FLAGS, "--inter-broker-listener=nowhere"], "nowhere"),
        ([*FLAGS, "--listener=secure=127.0.0.1:1,tls"], "tls.certificate.path"),
        ([*FLAGS, "--controller=host:port"], "port"),
        ([*FLAGS, "--max-message-bytes=99999999"], "3670016"),
        ([*FLAGS, "--compression-type=brotli"], "zstd"),
        (["--node-id=1", "--controller=ctl", "--data-dir="], "--data-dir '': a path has"),
        ([*FLAGS, "--log-dirs=/a", "--log-dirs= "], "--log-dirs.*: a path has"),
        ([*FLAGS, "--log-dirs=/a", "--log-dirs=/b\0c"], "--log-dirs.*: a path has"),
        ([*FLAGS, "--log-dirs=/a", "--log-dirs=/b/../a/"], "/a twice"),
        ([*FLAGS, "--log-dirs=/a", "--log-dirs=/a/b"], "in one another"),
        ([*FLAGS, "--log-dirs=/a/b", "--log-dirs=/a"], "in one another"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_their_name(flags: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(BrokerConfig, flags, {})
