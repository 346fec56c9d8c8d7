"""The settings of one partition's log, under the names that Kafka's users know.

Owns names, types, defaults and bounds, and the check of values that come as text. Where a value
comes from (topic, broker, cluster) is decided by whoever hands the settings over; settings of a
topic that do not concern its log are left alone here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ottla.protocol.errors import InvalidConfig

INT64_MAX = 2**63 - 1
DAY_MS = 86_400_000


class TimestampType(StrEnum):
    """Whose clock a record's time is read from."""

    CREATE_TIME = "CreateTime"
    LOG_APPEND_TIME = "LogAppendTime"


class CompressionType(StrEnum):
    """The codec batches are stored in; `producer` keeps what was sent."""

    PRODUCER = "producer"
    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What one log keeps, how it cuts its files, and what an acknowledgement of it promises."""

    segment_bytes: int = 1 << 30
    segment_ms: int = 7 * DAY_MS
    segment_index_bytes: int = 10 << 20
    index_interval_bytes: int = 4096
    retention_ms: int = 7 * DAY_MS
    retention_bytes: int = -1
    max_message_bytes: int = 1 << 20
    flush_on_ack: bool = True
    compression_type: CompressionType = CompressionType.PRODUCER
    message_timestamp_type: TimestampType = TimestampType.CREATE_TIME
    message_timestamp_before_max_ms: int = INT64_MAX
    message_timestamp_after_max_ms: int = 3_600_000

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> LogConfig:
        """The defaults with `settings` (Kafka's names, values as text) laid over them.

        Raises:
            InvalidConfig: a value is not of its setting's type or outside of its bounds.
        """
        values = {
            setting.field: setting.parse(settings[name])
            for name, setting in LOG_SETTINGS.items()
            if name in settings
        }
        return cls(**values)  # type: ignore[arg-type]  # the table pairs fields with their types


@dataclass(frozen=True, slots=True)
class LogSetting:
    """One setting: its name, the field it fills, how its text is read, and a sentence about it."""

    name: str
    read: Callable[[str], object]
    doc: str

    @property
    def field(self) -> str:
        """Name of the field of `LogConfig`."""
        return self.name.replace(".", "_")

    def parse(self, text: str) -> object:
        """The value that `text` stands for. Raises InvalidConfig."""
        try:
            return self.read(text.strip())
        except ValueError as error:
            raise InvalidConfig(f"{self.name}={text!r}: {error}") from None


def _integer(low: int, high: int = INT64_MAX) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("not a whole number") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return read


def _boolean(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError("must be true or false")


def _choice(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def read(text: str) -> StrEnum:
        for member in kind:
            if member.value.lower() == text.lower():
                return member
        raise ValueError("must be one of " + ", ".join(member.value for member in kind))

    return read


LOG_SETTINGS: Mapping[str, LogSetting] = {
    setting.name: setting
    for setting in (
        LogSetting(
            "segment.bytes",
            _integer(1024, 2**31 - 1),
            "Size in bytes at which a segment file is closed and the next one begun.",
        ),
        LogSetting(
            "segment.ms",
            _integer(1),
            "Age in ms at which a segment that holds records is closed, so that retention can act.",
        ),
        LogSetting(
            "segment.index.bytes",
            _integer(64, 2**31 - 1),
            "Size in bytes of a full offset index; a full index closes the segment.",
        ),
        LogSetting(
            "index.interval.bytes",
            _integer(0, 2**31 - 1),
            "About how many bytes of a segment lie between two entries of its indexes.",
        ),
        LogSetting(
            "retention.ms",
            _integer(-1),
            "How long records are kept at least, in ms; -1 keeps them for ever.",
        ),
        LogSetting(
            "retention.bytes",
            _integer(-1),
            "Size in bytes a partition is trimmed to, whole segments at a time; -1: no such limit.",
        ),
        LogSetting(
            "max.message.bytes",
            _integer(1024, 64 << 20),
            "Largest batch in bytes, as it is stored. Above 3.5 MiB stock gRPC stubs refuse it.",
        ),
        LogSetting(
            "flush.on.ack",
            _boolean,
            "True: acks=all means flushed to disk. False: written, as with most other brokers.",
        ),
        LogSetting(
            "compression.type",
            _choice(CompressionType),
            "Codec that batches are stored in; `producer` stores what was sent.",
        ),
        LogSetting(
            "message.timestamp.type",
            _choice(TimestampType),
            "CreateTime keeps the records' times; LogAppendTime gives all of a batch the leader's.",
        ),
        LogSetting(
            "message.timestamp.before.max.ms",
            _integer(0),
            "How far in ms a record's time may lie before the broker's clock.",
        ),
        LogSetting(
            "message.timestamp.after.max.ms",
            _integer(0),
            "How far in ms a record's time may lie after the broker's clock.",
        ),
    )
}
