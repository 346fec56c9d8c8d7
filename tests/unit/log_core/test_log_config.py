"""Settings of a log, from the texts that users write."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ottla.protocol.errors import InvalidConfig
from ottla_broker.core.log_config import (
    LOG_SETTINGS,
    CompressionType,
    LogConfig,
    TimestampType,
)


def test_every_field_has_a_setting_and_every_setting_a_field() -> None:
    assert {field.name for field in fields(LogConfig)} == {
        setting.field for setting in LOG_SETTINGS.values()
    }


def test_defaults_are_within_their_own_bounds() -> None:
    config = LogConfig()
    texts = {name: str(getattr(config, one.field)) for name, one in LOG_SETTINGS.items()}
    assert LogConfig.from_settings(texts) == config


def test_settings_are_read_from_text() -> None:
    config = LogConfig.from_settings(
        {
            "segment.bytes": "65536",
            "retention.ms": "-1",
            "flush.on.ack": "FALSE",
            "compression.type": "zstd",
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": "2",
        }
    )
    assert config == LogConfig(
        segment_bytes=65_536,
        retention_ms=-1,
        flush_on_ack=False,
        compression_type=CompressionType.ZSTD,
        message_timestamp_type=TimestampType.LOG_APPEND_TIME,
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("segment.bytes", "12", "must be from 1024"),
        ("segment.bytes", "a lot", "not a whole number"),
        ("retention.ms", "-2", "must be from -1"),
        ("flush.on.ack", "perhaps", "true or false"),
        ("compression.type", "brotli", "producer, none, gzip, snappy, lz4, zstd"),
        ("message.timestamp.type", "", "CreateTime, LogAppendTime"),
        ("max.message.bytes", str(1 << 40), "to 67108864"),
    ],
)
def test_wrong_value_is_refused_with_its_name_and_what_is_allowed(
    name: str, text: str, words: str
) -> None:
    with pytest.raises(InvalidConfig, match=words) as caught:
        LogConfig.from_settings({name: text})
    assert name in caught.value.message
