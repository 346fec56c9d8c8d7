"""What a Publish request asks for: checked, and its records dealt out to partitions.

Owns the limits of a request, the choice of partitions (given, by the key's hash, or in turn) and
the grouping. Pure. Does not own batches (`publish_batches`) nor where partitions are
(`partition_router`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    InvalidTopic,
    RecordTooLarge,
    UnsupportedVersion,
)
from ottla.protocol.ids import is_internal_topic
from ottla.protocol.partitioner import partition_for_key
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.cluster_table import TopicEntry

# So many results, each at its longest, still fit into a response of 1 MiB.
RECORDS_MAX = 30_000
REQUEST_SIZE_MAX = 1 << 20
TIMEOUT_MS_DEFAULT = 30_000
TIMEOUT_MS_MAX = 600_000
TURNS_KEPT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class PublishTerms:
    """How the records of a request are to be appended."""

    acks: Acks
    timeout_ms: int


def check_request(request: produce_pb2.PublishRequest) -> PublishTerms:
    """The terms of a request whose bounds hold.

    Raises:
        InvalidRequest: no records, too many, or a time-out or acks that aren't.
        InvalidTopic: the topic is the cluster's own.
        RecordTooLarge: the records are more than 1 MiB together.
        UnsupportedVersion: it carries a producer's identity, or acks of a later version.
    """
    if request.HasField("identity"):
        raise UnsupportedVersion(
            "identity is not honoured yet: publish without it, which is at least once"
        )
    count = len(request.records)
    if not 1 <= count <= RECORDS_MAX:
        raise InvalidRequest(
            f"a request publishes 1 to {RECORDS_MAX} records, not {count}",
            field_errors=[FieldError("records", f"1 to {RECORDS_MAX}")],
        )
    if request.timeout_ms > TIMEOUT_MS_MAX:
        raise InvalidRequest(
            f"timeout_ms is {request.timeout_ms}; at most {TIMEOUT_MS_MAX} is waited",
            field_errors=[FieldError("timeout_ms", f"0 to {TIMEOUT_MS_MAX}")],
        )
    if is_internal_topic(request.topic):
        raise InvalidTopic(
            f"topic {request.topic[:64]!r} is the cluster's own; only its services write to it"
        )
    _check_size(request)
    return PublishTerms(_acks(request.acks), request.timeout_ms or TIMEOUT_MS_DEFAULT)


def _check_size(request: produce_pb2.PublishRequest) -> None:
    size = 0
    for index, record in enumerate(request.records):
        size += len(record.key) + len(record.value)
        for header in record.headers:
            size += len(header.key) + len(header.value)
        if size > REQUEST_SIZE_MAX:
            raise RecordTooLarge(
                f"a request publishes at most {REQUEST_SIZE_MAX} bytes of records, which ends "
                f"inside record {index}",
                metadata={"topic": request.topic[:249]},
            )


def _acks(value: int) -> Acks:
    if value == produce_pb2.ACKS_UNSPECIFIED:
        return Acks.ALL
    try:
        return Acks(value)
    except ValueError:
        raise UnsupportedVersion(f"acks {value} is not known to this server") from None


@dataclass(frozen=True, slots=True)
class PartitionGroup:
    """Records of one partition, by their places in the request."""

    partition: int
    places: Sequence[int]


class PartitionChooser:
    """Deals records out; remembers whose turn it is for records without a key."""

    def __init__(self) -> None:
        self._turns: dict[bytes, int] = {}

    def groups(
        self, request: produce_pb2.PublishRequest, entry: TopicEntry
    ) -> list[PartitionGroup]:
        """The request's records by partition, in order of first appearance.

        The keyless records of a request stay together, so that they make one batch.
        """
        if request.HasField("partition"):
            return [PartitionGroup(request.partition, range(len(request.records)))]
        count = entry.topic.partition_count
        keyless: int | None = None
        places: dict[int, list[int]] = {}
        for place, record in enumerate(request.records):
            if record.HasField("key"):
                partition = partition_for_key(record.key, count)
            else:
                if keyless is None:
                    keyless = self._next_turn(entry)
                partition = keyless
            places.setdefault(partition, []).append(place)
        return [PartitionGroup(partition, group) for partition, group in places.items()]

    def _next_turn(self, entry: TopicEntry) -> int:
        """The next partition in turn, of those that have a leader if any has."""
        topic_id = entry.topic.topic_id
        led = [number for number, view in entry.partitions.items() if view.leader_id is not None]
        candidates = sorted(led) or range(entry.topic.partition_count)
        turn = self._turns.pop(topic_id, 0)
        if len(self._turns) >= TURNS_KEPT_MAX:
            self._turns.pop(next(iter(self._turns)))
        self._turns[topic_id] = turn + 1
        return candidates[turn % len(candidates)]
