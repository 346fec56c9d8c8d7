"""A topic as somebody asks for it, held to everything that needs no look at the cluster.

Owns names, counts, assignments and settings of `NewTopic`. Whether the cluster can have it is
`topic_creation`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ottla.api.admin.v1.admin_pb2 import NewTopic
from ottla.protocol.errors import FieldError, InvalidConfig, InvalidRequest, InvalidTopic
from ottla.protocol.ids import check_topic_name, is_internal_topic
from ottla_controller.core import limits
from ottla_runtime.topic_configs import check_topic_configs

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})
"""What the cluster keeps for itself; other names that begin so are reserved."""


@dataclass(frozen=True, slots=True)
class TopicDraft:
    """A topic to be; 0 stands for what the cluster says."""

    name: str
    partition_count: int
    replication_factor: int
    assignments: tuple[tuple[int, ...], ...]
    configs: dict[str, str]

    @classmethod
    def of(cls, topic: NewTopic) -> TopicDraft:
        """The draft that a request's item stands for.

        Raises:
            InvalidTopic: the name is not allowed or reserved.
            InvalidRequest: counts or assignments are out of bounds or contradict each other.
            InvalidConfig: a setting is unknown or does not fit.
        """
        check_topic_name(topic.name)
        if is_internal_topic(topic.name) and topic.name not in INTERNAL_TOPICS:
            raise InvalidTopic(f"{topic.name!r}: names that begin with __ are the cluster's own")
        _check_count("partition_count", topic.partition_count, limits.TOPIC_PARTITIONS_MAX)
        _check_count("replication_factor", topic.replication_factor, limits.REPLICATION_FACTOR_MAX)
        configs = dict(topic.configs)
        if sum(len(name) + len(value) for name, value in configs.items()) > (
            limits.TOPIC_CONFIGS_BYTES_MAX
        ):
            raise InvalidConfig(f"settings exceed {limits.TOPIC_CONFIGS_BYTES_MAX} characters")
        check_topic_configs(configs)
        assignments = tuple(tuple(each.node_ids) for each in topic.assignments)
        if assignments:
            _check_assignments(topic, assignments)
        return cls(
            topic.name, topic.partition_count, topic.replication_factor, assignments, configs
        )


def check_items(items: Sequence[object], *, field: str = "topics") -> None:
    """Holds a request to its number of items; raises `InvalidRequest`."""
    if not 1 <= len(items) <= limits.ITEMS_MAX:
        raise _refused(field, f"has 1 to {limits.ITEMS_MAX} items, not {len(items)}")


def names_asked_twice(topics: Sequence[NewTopic]) -> frozenset[str]:
    """Names that the request has more than once; which one would be meant?"""
    counts = Counter(topic.name for topic in topics)
    return frozenset(name for name, count in counts.items() if count > 1)


def _check_count(field: str, count: int, maximum: int) -> None:
    if count > maximum:
        raise _refused(field, f"is from 1 to {maximum}, not {count}")


def _check_assignments(topic: NewTopic, assignments: tuple[tuple[int, ...], ...]) -> None:
    if topic.partition_count or topic.replication_factor:
        raise _refused("assignments", "exclude partition_count and replication_factor")
    if len(assignments) > limits.TOPIC_PARTITIONS_MAX:
        raise _refused("assignments", f"are at most {limits.TOPIC_PARTITIONS_MAX}")
    size = len(assignments[0])
    for number, nodes in enumerate(assignments):
        field = f"assignments[{number}]"
        if not 1 <= len(nodes) <= limits.REPLICATION_FACTOR_MAX:
            raise _refused(field, "names at least one broker")
        if len(set(nodes)) < len(nodes):
            raise _refused(field, f"names each broker once, not {list(nodes)[:16]}")
        if len(nodes) != size:
            raise _refused(field, f"has as many brokers as the first, {size}, not {len(nodes)}")


def _refused(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", field_errors=[FieldError(field, rule)])
