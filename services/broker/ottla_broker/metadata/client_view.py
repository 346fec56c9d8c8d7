"""What clients are shown of the cluster, for the listener they came in on, a page at a time.

Owns: brokers' endpoints by listener, topics by name or id, the bounds of a page (partitions and
bytes), page tokens. Pure: reads a `ClusterTable`. Does not own changes as they happen:
`watch_hub` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ottla.api.metadata.v1 import metadata_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    InvalidTopic,
    UnknownTopicOrPartition,
)
from ottla.protocol.ids import TOPIC_ID_SIZE, TOPIC_NAME_CHARS_MAX, NodeId, Partition
from ottla_broker.metadata.cluster_table import ClusterTable, TopicEntry
from ottla_broker.metadata.views import BrokerView, PartitionView

PAGE_PARTITIONS_MAX = 10_000
PAGE_SIZE_MAX = 1 << 20
ASKED_TOPICS_MAX = 1_000
TOKEN_CHARS_MAX = 512

# What a message's fields take at most on the wire, rounded up.
_BROKER_SIZE = 64
_TOPIC_SIZE = 64
_PARTITION_SIZE = 24
_ERROR_SIZE = 512


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where a page begins: at a partition of a topic."""

    name: str = ""
    partition: int = 0

    def token(self) -> str:
        """The place as the page token that clients hand back."""
        return f"{self.partition}:{self.name}"

    @classmethod
    def of(cls, token: str) -> PagePlace:
        """The place of a token; the empty one is the first page.

        Raises:
            InvalidRequest: it isn't a token of ours.
        """
        if not token:
            return cls()
        number, separator, name = token[:TOKEN_CHARS_MAX].partition(":")
        if not separator or not number.isascii() or not number.isdecimal() or len(number) > 9:
            raise InvalidRequest(
                "page_token is not one that this cluster gave out",
                field_errors=[FieldError("page_token", "take next_page_token as it came")],
            )
        return cls(name, int(number))


class ClientView:
    """The cluster as clients on one listener see it."""

    def __init__(self, table: ClusterTable, *, listener: str) -> None:
        self._table = table
        self._listener = listener

    @property
    def table(self) -> ClusterTable:
        """The table that is shown."""
        return self._table

    def broker(self, broker: BrokerView) -> metadata_pb2.BrokerInfo:
        """One broker, with where it answers on this listener."""
        info = metadata_pb2.BrokerInfo(node_id=broker.node_id, rack=broker.rack)
        endpoint = broker.endpoint(self._listener)
        if endpoint is not None:
            info.endpoint.CopyFrom(endpoint.message())
        return info

    def brokers(self) -> list[metadata_pb2.BrokerInfo]:
        """All live brokers by node id."""
        return [self.broker(broker) for broker in self._table.live_brokers()]

    def leader_metadata(self, view: PartitionView) -> dict[str, object]:
        """The details that an error names a partition's leader with; none while there is none."""
        if view.leader_id is None:
            return {}
        details: dict[str, object] = {
            "leader_id": view.leader_id,
            "leader_epoch": view.leader_epoch,
        }
        broker = self._table.brokers.get(NodeId(view.leader_id))
        endpoint = broker.endpoint(self._listener) if broker is not None else None
        if endpoint is not None:
            details |= {"leader_host": endpoint.host, "leader_port": endpoint.port}
        return details

    def page(self, request: metadata_pb2.GetMetadataRequest) -> metadata_pb2.GetMetadataResponse:
        """One page of what a request asks for.

        Raises:
            InvalidRequest: too many topics are named, or page size or token are out of bounds.
        """
        place = PagePlace.of(request.page_token)
        limit = _partitions_limit(request.page_size)
        response = metadata_pb2.GetMetadataResponse(
            cluster_id=self._table.cluster_id,
            version=self._table.version.message(),
            feature_level=self._table.feature_level,
        )
        size = 0
        if not request.page_token:
            response.brokers.extend(self.brokers())
            size = sum(_broker_size(broker) for broker in response.brokers)
        if request.no_topics:
            return response
        items = self._asked(request, place)
        page = _Page(partitions_left=limit, size_left=max(PAGE_SIZE_MAX - size, 1))
        token = page.fill(items, place)
        response.topics.extend(page.topics)
        response.next_page_token = token
        return response

    def _asked(
        self, request: metadata_pb2.GetMetadataRequest, place: PagePlace
    ) -> Iterator[TopicEntry | metadata_pb2.TopicInfo]:
        check_asked(request.topics, request.topic_ids)
        if not request.topics and not request.topic_ids:
            return self._all_from(place)
        return self._named_from(request, place)

    def _all_from(self, place: PagePlace) -> Iterator[TopicEntry]:
        for name in self._table.names_from(place.name):
            entry = self._table.topic(name)
            if entry is not None:
                yield entry

    def _named_from(
        self, request: metadata_pb2.GetMetadataRequest, place: PagePlace
    ) -> Iterator[TopicEntry | metadata_pb2.TopicInfo]:
        found: dict[str, TopicEntry | metadata_pb2.TopicInfo] = {}
        for topic_id in dict.fromkeys(request.topic_ids):
            entry = self._table.topic_by_id(topic_id)
            if entry is not None:
                found[entry.topic.name] = entry
            elif not request.page_token:  # nameless ones come first, on the first page
                yield unknown_topic(topic_id=topic_id)
        for name in request.topics:
            entry = self._table.topic(name)
            found[name] = entry if entry is not None else unknown_topic(name=name)
        for name in sorted(found):
            if name >= place.name:
                yield found[name]


class _Page:
    """Topics up to a number of partitions and a size; the first item always goes in."""

    def __init__(self, *, partitions_left: int, size_left: int) -> None:
        self.topics: list[metadata_pb2.TopicInfo] = []
        self._partitions_left = partitions_left
        self._size_left = size_left

    def fill(self, items: Iterable[TopicEntry | metadata_pb2.TopicInfo], place: PagePlace) -> str:
        """Take items until the page is full; returns the token of what didn't fit."""
        for item in items:
            if isinstance(item, metadata_pb2.TopicInfo):
                if not self._has_room(_ERROR_SIZE):
                    return PagePlace(item.name).token()
                self.topics.append(item)
                self._size_left -= _ERROR_SIZE
                continue
            first = place.partition if item.topic.name == place.name else 0
            rest = self._take(item, first)
            if rest is not None:
                return PagePlace(item.topic.name, rest).token()
        return ""

    def _has_room(self, size: int) -> bool:
        return not self.topics or (self._partitions_left > 0 and self._size_left >= size)

    def _take(self, entry: TopicEntry, first: int) -> int | None:
        head_size = _TOPIC_SIZE + len(entry.topic.name)
        if not self._has_room(head_size + _PARTITION_SIZE):
            return first
        self._size_left -= head_size
        room = min(self._partitions_left, max(self._size_left // _PARTITION_SIZE, 1))
        numbers = [number for number in sorted(entry.partitions) if number >= first]
        taken = numbers[:room]
        self.topics.append(topic_info(entry, taken))
        self._partitions_left -= len(taken)
        self._size_left -= len(taken) * _PARTITION_SIZE
        return numbers[room] if len(numbers) > room else None


def check_asked(names: Sequence[str], topic_ids: Sequence[bytes] = ()) -> None:
    """Check how many topics are named, and how long what names them is.

    Raises:
        InvalidRequest: too many, or an id that isn't 16 bytes.
        InvalidTopic: a name is longer than any topic's.
    """
    if len(names) + len(topic_ids) > ASKED_TOPICS_MAX:
        raise InvalidRequest(f"at most {ASKED_TOPICS_MAX} topics may be asked for at once")
    for name in names:
        if len(name) > TOPIC_NAME_CHARS_MAX:
            raise InvalidTopic(
                f"the topic's name has {len(name)} characters; at most {TOPIC_NAME_CHARS_MAX} "
                "may be"
            )
    if any(len(topic_id) != TOPIC_ID_SIZE for topic_id in topic_ids):
        raise InvalidRequest(f"a topic's id has {TOPIC_ID_SIZE} bytes")


def _partitions_limit(page_size: int) -> int:
    if page_size > PAGE_PARTITIONS_MAX:
        raise InvalidRequest(
            f"page_size is {page_size}; at most {PAGE_PARTITIONS_MAX} partitions fit on a page",
            field_errors=[FieldError("page_size", f"0 to {PAGE_PARTITIONS_MAX}")],
        )
    return page_size or PAGE_PARTITIONS_MAX


def _broker_size(broker: metadata_pb2.BrokerInfo) -> int:
    return _BROKER_SIZE + len(broker.rack) + len(broker.endpoint.host) + 32


def topic_info(
    entry: TopicEntry, partitions: Sequence[Partition] | None = None
) -> metadata_pb2.TopicInfo:
    """A topic as clients see it, with all its partitions or those given."""
    numbers = sorted(entry.partitions) if partitions is None else partitions
    topic = entry.topic
    return metadata_pb2.TopicInfo(
        name=topic.name,
        topic_id=topic.topic_id,
        partition_count=topic.partition_count,
        internal=topic.internal,
        partitions=[partition_info(entry.partitions[number]) for number in numbers],
    )


def partition_info(view: PartitionView) -> metadata_pb2.PartitionInfo:
    """A partition as clients see it."""
    return metadata_pb2.PartitionInfo(
        partition=view.partition, leader_id=view.leader_id, leader_epoch=view.leader_epoch
    )


def unknown_topic(*, name: str = "", topic_id: bytes = b"") -> metadata_pb2.TopicInfo:
    """What stands in the answer for a topic that isn't there."""
    shown = repr(name[:64]) if name else f"with id {topic_id[:16].hex()}"
    error = UnknownTopicOrPartition(
        f"there is no topic {shown}", metadata={"topic": name} if name else {}
    )
    return metadata_pb2.TopicInfo(name=name, topic_id=topic_id, error=to_proto(error))
