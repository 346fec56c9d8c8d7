"""Names and numbers that identify things, as types of their own, and the rule for topic names.

Owns: the `NewType` of every id, the bounds an offset and a partition keep, and
`check_topic_name`. Does not own how ids are assigned (the controller does) or encoded (the protos
do).
"""

from __future__ import annotations

import re
from typing import Final, NewType

from ottla.protocol.errors import InvalidTopic

Offset = NewType("Offset", int)
"""Logical place of a record in its partition, from 0."""
Partition = NewType("Partition", int)
"""Number of a partition within its topic, from 0."""
LeaderEpoch = NewType("LeaderEpoch", int)
"""Grows with every change of a partition's leader."""
BrokerEpoch = NewType("BrokerEpoch", int)
"""Grows with every registration of a broker."""
ControllerEpoch = NewType("ControllerEpoch", int)
"""Grows with every change of the active controller."""
NodeId = NewType("NodeId", int)
"""Number of a broker, controller or coordinator in its cluster."""
TopicId = NewType("TopicId", bytes)
"""16 random bytes; a topic created again under its old name has another one."""
DirectoryId = NewType("DirectoryId", bytes)
"""16 random bytes in the `meta` of a log directory."""
TopicName = NewType("TopicName", str)
"""A name that `check_topic_name` accepted."""

OFFSET_MAX: Final = Offset(2**63 - 1)
TOPIC_ID_SIZE: Final = 16
TOPIC_NAME_CHARS_MAX: Final = 249
INTERNAL_TOPIC_PREFIX: Final = "__"

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SHOWN_CHARS_MAX = 64


def check_topic_name(name: str) -> TopicName:
    """Returns the name if a topic may have it; the rule is Kafka's.

    1 to 249 letters, digits, `.`, `_` and `-` of ASCII, and neither `.` nor `..`, because
    partitions are directories of these names.

    Raises:
        InvalidTopic: with a message that says which part of the rule the name breaks.
    """
    if not name:
        raise InvalidTopic("a topic's name must not be empty")
    if len(name) > TOPIC_NAME_CHARS_MAX:
        raise InvalidTopic(
            f"the topic's name has {len(name)} characters; at most {TOPIC_NAME_CHARS_MAX} may be"
        )
    if name in {".", ".."}:
        raise InvalidTopic(f"a topic cannot be named {name!r}")
    if _TOPIC_NAME.fullmatch(name) is None:
        raise InvalidTopic(
            f"the topic's name {name[:_SHOWN_CHARS_MAX]!r} may hold only ASCII letters, digits, "
            "'.', '_' and '-'"
        )
    return TopicName(name)


def is_internal_topic(name: str) -> bool:
    """Whether the topic is the platform's own; only services create and write those."""
    return name.startswith(INTERNAL_TOPIC_PREFIX)
