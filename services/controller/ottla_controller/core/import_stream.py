"""The bytes of an import, taken apart and checked while they come.

Owns `ImportStream`: lengths, sizes, the order of records, and that they fit together, so that
`import_writing` can write what is complete. Nothing is written before the stream has ended. Records
of kinds that this release does not know are refused: leaving them out would lose what they hold.

    the cluster ─► brokers and settings ─► a topic ─► its partitions ─► the next topic … ─► the end
"""

from __future__ import annotations

from dataclasses import dataclass

from crc32c import crc32c
from google.protobuf.message import DecodeError

from ottla.protocol.errors import InvalidRequest, UnsupportedVersion
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ExportedRecord,
    ExportEnd,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.import_checks import (
    check_broker,
    check_cluster,
    check_config,
    check_partition,
    check_topic,
)
from ottla_controller.core.record_keys import Record, key_of
from ottla_controller.core.state import ClusterState

_LENGTH_BYTES_MAX = 5


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What this cluster can take in."""

    format_version: int
    feature_level: int
    cluster_partitions_max: int
    cluster_id: str = ""
    """The only cluster that this controller is for; empty: any."""


class ImportStream:
    """Records of one import as far as they have come. Used by one call."""

    def __init__(self, rules: ImportRules) -> None:
        self.state = ClusterState()
        """The cluster as it was exported."""
        self.record_count = 0
        self._rules = rules
        self._rest = bytearray()
        self._size = 0
        self._checksum = 0
        self._has_ended = False
        self._rank = 0
        self._topic_id = b""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes in; they may end anywhere.

        Raises:
            InvalidRequest: they are no export, or its records don't fit together.
            UnsupportedVersion: a newer release wrote them.
        """
        self._size += len(chunk)
        if self._size > limits.IMPORT_BYTES_MAX:
            raise InvalidRequest(f"an import has at most {limits.IMPORT_BYTES_MAX} bytes")
        self._rest += chunk
        position = 0
        while (found := self._whole_record(position)) is not None:
            begin, end = found
            record = self._parsed(bytes(self._rest[begin:end]))
            if self._has_ended:
                raise self._refused("something comes behind the end of the export")
            if isinstance(record, ExportEnd):
                self._end(record)
            else:
                self._take(record)
                self._checksum = crc32c(bytes(self._rest[position:end]), self._checksum)
            position = end
        del self._rest[:position]

    def finish(self) -> None:
        """Says that nothing more comes; raises `InvalidRequest` if something is missing."""
        if self._rest:
            raise self._refused("the stream ends in the middle of a record")
        if not self._has_ended:
            raise self._refused("the stream ends before the export does")

    def _whole_record(self, position: int) -> tuple[int, int] | None:
        """Where the record at a position begins and ends; None: not all of it is there."""
        length = 0
        for number in range(_LENGTH_BYTES_MAX):
            if position + number >= len(self._rest):
                return None
            byte = self._rest[position + number]
            length |= (byte & 0x7F) << 7 * number
            if byte < 0x80:
                begin = position + number + 1
                break
        else:
            raise self._refused("what stands before the record is no length")
        if length > limits.RECORD_BYTES_MAX:
            raise self._refused(f"it has {length} bytes, more than {limits.RECORD_BYTES_MAX}")
        return (begin, begin + length) if begin + length <= len(self._rest) else None

    def _parsed(self, data: bytes) -> Record | ExportEnd:
        try:
            exported = ExportedRecord.FromString(data)
        except DecodeError:
            raise self._refused("it cannot be decoded") from None
        match exported.WhichOneof("record"):
            case "cluster":
                return exported.cluster
            case "broker":
                return exported.broker
            case "config":
                return exported.config
            case "topic":
                return exported.topic
            case "partition":
                return exported.partition
            case "end":
                return exported.end
            case kind:
                raise UnsupportedVersion(
                    f"{self._place}: this release keeps no {kind or 'records of this kind'}; "
                    "import with the release that exported"
                )

    def _take(self, record: Record) -> None:
        self._check(record)
        self.state.replay(self.state.revision + 1, [(key_of(record), record)])
        self.record_count += 1

    def _end(self, end: ExportEnd) -> None:
        if not self.record_count:
            raise self._refused("the export has no records")
        self._end_topic()
        if (end.record_count, end.crc32c) != (self.record_count, self._checksum):
            raise self._refused("the export is damaged: its checksum does not fit")
        self._has_ended = True

    def _check(self, record: Record) -> None:
        state = self.state
        if isinstance(record, ClusterRecord) is (self.record_count > 0):
            raise self._refused("the cluster comes first, and nothing else does")
        match record:
            case ClusterRecord():
                problem = check_cluster(record, self._rules)
            case BrokerRecord():
                problem = self._in_order(0) or check_broker(record)
                problem = problem or _twice(record.node_id in state.brokers)
            case ConfigRecord():
                problem = self._in_order(0) or check_config(record, state.brokers)
                owner = record.node_id if record.HasField("node_id") else None
                problem = problem or _twice(owner in state.configs)
            case TopicRecord():
                self._end_topic()
                problem = self._in_order(1) or check_topic(record)
                like = state.name_like(record.name) if not problem else None
                problem = problem or _twice(record.topic_id in state.topics or like is not None)
                self._topic_id = record.topic_id
            case PartitionRecord():
                problem = self._partition_problem(record)
            case _:
                raise AssertionError("no other kind is in an export")
        if problem:
            raise self._refused(problem)

    def _partition_problem(self, record: PartitionRecord) -> str:
        topic = self.state.topics.get(record.topic_id)
        if topic is None or record.topic_id != self._topic_id:
            return "a partition comes behind its topic"
        if self.state.partition_count >= self._rules.cluster_partitions_max:
            return f"the cluster holds {self._rules.cluster_partitions_max} partitions at most"
        is_there = self.state.partition(record.topic_id, record.partition) is not None
        return check_partition(record, topic, self.state.brokers) or _twice(is_there)

    def _in_order(self, rank: int) -> str:
        if rank < self._rank:
            return "brokers and settings come before topics"
        self._rank = rank
        return ""

    def _end_topic(self) -> None:
        topic = self.state.topics.get(self._topic_id)
        if topic is not None:
            found = len(self.state.partitions_of(topic.topic_id))
            if found < topic.partition_count:
                raise self._refused(
                    f"topic {topic.name!r} has {topic.partition_count} partitions, "
                    f"{found} of which came"
                )

    @property
    def _place(self) -> str:
        return f"record {self.record_count + 1} of the import"

    def _refused(self, problem: str) -> InvalidRequest:
        return InvalidRequest(f"{self._place}: {problem}")


def _twice(is_there: bool) -> str:
    return "it comes a second time" if is_there else ""
