"""The settings a topic can have: names, types, defaults, bounds and a sentence about each.

Owns the one table that the controller checks new settings against and that brokers, who act on
them, share. The names are Kafka's where Kafka has the setting. Pure. Does not own where a value
comes from: a topic's own, a broker's, the cluster's or the default.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from ottla.protocol.errors import FieldError, InvalidConfig

_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
_DAY_MS: Final = 86_400_000
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_VALUE_CHARS_MAX: Final = 1_024
_SHOWN_CHARS_MAX: Final = 64

FLUSH_ON_ACK: Final = "flush.on.ack"
MAX_MESSAGE_BYTES: Final = "max.message.bytes"
MIN_INSYNC_REPLICAS: Final = "min.insync.replicas"
UNCLEAN_LEADER_ELECTION: Final = "unclean.leader.election.enable"


class TopicConfigType(enum.Enum):
    """How a value is written."""

    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    CHOICE = "one of a few words"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """One setting of topics; values are text, as they travel."""

    name: str
    type: TopicConfigType
    default: str
    """Empty where it depends on the topic; `doc` says how."""
    doc: str
    minimum: int = 0
    maximum: int = _INT64_MAX
    choices: tuple[str, ...] = ()

    def check(self, value: str) -> None:
        """Holds a value to the setting's type and bounds.

        Raises:
            InvalidConfig: it is of the wrong type or out of bounds; the message says what fits.
        """
        problem = self._problem(value)
        if problem:
            text = f"{self.name}={value[:_SHOWN_CHARS_MAX]!r}: {problem}"
            raise InvalidConfig(text, field_errors=[FieldError(f"configs.{self.name}", problem)])

    def _problem(self, value: str) -> str:
        if len(value) > _VALUE_CHARS_MAX:
            return f"has more than {_VALUE_CHARS_MAX} characters"
        match self.type:
            case TopicConfigType.BOOLEAN:
                return "" if value in {"true", "false"} else "must be true or false"
            case TopicConfigType.CHOICE:
                allowed = ", ".join(self.choices)
                return "" if value in self.choices else f"must be one of {allowed}"
            case TopicConfigType.INTEGER:
                return self._integer_problem(value)

    def _integer_problem(self, value: str) -> str:
        digits = value.removeprefix("-")
        # 19 digits hold every 64-bit number; int() of a million digits would take seconds.
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
            return "must be a whole number"
        if not self.minimum <= int(value) <= self.maximum:
            return f"must be from {self.minimum} to {self.maximum}"
        return ""


def _integer(name: str, default: int, bounds: tuple[int, int], doc: str) -> TopicConfig:
    return TopicConfig(
        name=name,
        type=TopicConfigType.INTEGER,
        default=str(default),
        minimum=bounds[0],
        maximum=bounds[1],
        doc=doc,
    )


def _boolean(name: str, default: bool, doc: str) -> TopicConfig:
    return TopicConfig(
        name=name, type=TopicConfigType.BOOLEAN, default=str(default).lower(), doc=doc
    )


def _choice(name: str, choices: tuple[str, ...], doc: str) -> TopicConfig:
    """The first choice is the default."""
    return TopicConfig(
        name=name, type=TopicConfigType.CHOICE, default=choices[0], choices=choices, doc=doc
    )


_CONFIGS: Final = (
    _choice(
        "cleanup.policy",
        ("delete",),
        "What happens to old records: delete removes whole segments past the retention bounds.",
    ),
    _choice(
        "compression.type",
        ("producer", "none", "gzip", "snappy", "lz4", "zstd"),
        "How batches are stored; producer keeps what the producer chose.",
    ),
    _boolean(
        FLUSH_ON_ACK,
        True,
        "Whether acks=all promises that records are flushed to disk. If not, they are in memory.",
    ),
    _integer(
        "index.interval.bytes",
        4 * _KIB,
        (0, _INT32_MAX),
        "Bytes of log between two entries of the offset index.",
    ),
    _integer(
        MAX_MESSAGE_BYTES,
        _MIB,
        (_KIB, 3_670_016),
        "Largest batch in bytes; at most 3.5 MiB, because stock stubs refuse more than 4 MiB.",
    ),
    _choice(
        "message.timestamp.type",
        ("CreateTime", "LogAppendTime"),
        "Whether a record keeps the producer's time or gets the time of its append.",
    ),
    _integer(
        "message.timestamp.before.max.ms",
        _INT64_MAX,
        (0, _INT64_MAX),
        "How far a producer's time may lie in the past.",
    ),
    _integer(
        "message.timestamp.after.max.ms",
        3_600_000,
        (0, _INT64_MAX),
        "How far a producer's time may lie in the future.",
    ),
    TopicConfig(
        name=MIN_INSYNC_REPLICAS,
        type=TopicConfigType.INTEGER,
        default="",
        minimum=1,
        maximum=32_767,
        doc="Fewest in-sync replicas that take a write with acks=all; never more than the topic"
        " has replicas. Not set: 2 for topics of 3 or more replicas, else 1.",
    ),
    _integer(
        "retention.bytes",
        -1,
        (-1, _INT64_MAX),
        "Bytes of a partition from which the oldest segments go; -1: no bound.",
    ),
    _integer(
        "retention.ms",
        7 * _DAY_MS,
        (-1, _INT64_MAX),
        "Age from which segments go; -1: no bound.",
    ),
    _integer(
        "segment.bytes",
        1 << 30,
        (_KIB, _INT32_MAX),
        "Bytes of a segment from which the next one begins.",
    ),
    _integer(
        "segment.index.bytes",
        10 * _MIB,
        (64, _INT32_MAX),
        "Bytes of a segment's index from which the next segment begins.",
    ),
    _integer(
        "segment.ms",
        7 * _DAY_MS,
        (1, _INT64_MAX),
        "Age of a segment from which the next one begins, so that retention finds whole ones.",
    ),
    _boolean(
        UNCLEAN_LEADER_ELECTION,
        False,
        "Whether a replica that may lack acknowledged records may lead when no other can.",
    ),
)

TOPIC_CONFIGS: Final[Mapping[str, TopicConfig]] = MappingProxyType(
    {config.name: config for config in _CONFIGS}
)
"""Every setting by its name."""


def check_topic_configs(configs: Mapping[str, str]) -> None:
    """Holds settings of a topic to the table.

    Raises:
        InvalidConfig: one is unknown (the message names the nearest) or its value does not fit.
    """
    for name in sorted(configs):
        config = TOPIC_CONFIGS.get(name)
        if config is None:
            raise _unknown(name)
        config.check(configs[name])


def is_on(configs: Mapping[str, str], name: str) -> bool:
    """Whether a boolean setting is true for a topic with these settings of its own."""
    return configs.get(name, TOPIC_CONFIGS[name].default) == "true"


def min_insync_replicas(configs: Mapping[str, str], *, replication_factor: int) -> int:
    """Fewest in-sync replicas that take a write: never more than there are replicas."""
    default = 2 if replication_factor >= 3 else 1
    return min(int(configs.get(MIN_INSYNC_REPLICAS, default)), replication_factor)


def _unknown(name: str) -> InvalidConfig:
    shown = name[:_SHOWN_CHARS_MAX]
    nearest: Iterable[str] = get_close_matches(shown, TOPIC_CONFIGS, n=1)
    hint = "".join(f"; did you mean {each}?" for each in nearest)
    return InvalidConfig(
        f"topics have no setting {shown!r}{hint}",
        field_errors=[FieldError(f"configs.{shown}", "unknown setting")],
    )
