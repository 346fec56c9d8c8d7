"""Topics with their partitions, a page at a time.

Owns the answer to DescribeTopics from the state. A page ends at its number of partitions or before
it gets too large for stock clients; a topic with many partitions goes on on the next page. Reads
only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

from ottla.api.admin.v1.admin_pb2 import (
    DURABILITY_FLUSHED,
    DURABILITY_REPLICATED,
    DescribeTopicsRequest,
    DescribeTopicsResponse,
    PartitionDescription,
    TopicDescription,
    TopicRef,
)
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import FieldError, InvalidRequest, OttlaError
from ottla.storage.metadata.v1.metadata_record_pb2 import PartitionRecord, TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.page_token import decode_token, encode_token, page_size
from ottla_controller.core.partition_change import is_online
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_deletion import find_topic
from ottla_runtime.topic_configs import FLUSH_ON_ACK

_NAMED = "descriptions of named topics"
_ALL = "descriptions of all topics"
_HEAD_BYTES = 64
"""What a topic takes beside its name and settings, at most."""


def describe_topics(state: ClusterState, request: DescribeTopicsRequest) -> DescribeTopicsResponse:
    """One page: the topics asked for in their order, or all by name.

    Raises:
        InvalidRequest: too many names, or page size or token are out of bounds.
    """
    size = page_size(request.page_size, maximum=limits.DESCRIBE_PAGE_MAX)
    if len(request.topics) > limits.ITEMS_MAX:
        rule = f"has at most {limits.ITEMS_MAX} items, not {len(request.topics)}"
        raise InvalidRequest(f"topics {rule}", field_errors=[FieldError("topics", rule)])
    page = _Page(state, size)
    topics = _named(request) if request.topics else _all(state, request)
    for token_kind, place, ref, first_partition in topics:
        stopped_at = page.add(ref, first_partition)
        if stopped_at is not None:
            page.response.next_page_token = encode_token(token_kind, place, stopped_at)
            break
    return page.response


_Item = tuple[str, str, TopicRef, int]
"""Kind and text of a token that leads here, the topic, its first partition to show."""


def _named(request: DescribeTopicsRequest) -> Iterator[_Item]:
    index, partition = 0, 0
    if request.page_token:
        text, partition = decode_token(request.page_token, _NAMED)
        index = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else -1
        if not 0 <= index < len(request.topics):
            rule = "belongs to the same topics in the same order"
            raise InvalidRequest(
                f"page_token {rule}", field_errors=[FieldError("page_token", rule)]
            )
    for number in range(index, len(request.topics)):
        yield _NAMED, str(number), request.topics[number], partition
        partition = 0


def _all(state: ClusterState, request: DescribeTopicsRequest) -> Iterator[_Item]:
    first_name, partition = "", 0
    if request.page_token:
        first_name, partition = decode_token(request.page_token, _ALL)
    begin = bisect_left(state.ready_names, first_name)
    for name in islice(state.ready_names, begin, None):
        yield _ALL, name, TopicRef(name=name), partition if name == first_name else 0


class _Page:
    """A response that grows until it is full."""

    def __init__(self, state: ClusterState, size: int) -> None:
        self.response = DescribeTopicsResponse()
        self._state = state
        self._partitions_left = size
        self._bytes_left = limits.PAGE_BYTES_MAX

    def add(self, ref: TopicRef, first_partition: int) -> int | None:
        """Takes in a topic; returns the partition that the next page begins with, if any."""
        try:
            topic = find_topic(self._state, ref)
        except OttlaError as error:
            failed = TopicDescription(
                name=ref.name[:250], topic_id=ref.topic_id[:64], error=to_proto(error)
            )
            return self._append(failed, first_partition)
        description = _head(self._state, topic)
        stopped_at = self._append(description, first_partition)
        if stopped_at is not None:
            return stopped_at
        return self._add_partitions(self.response.topics[-1], topic, first_partition)

    def _append(self, description: TopicDescription, first_partition: int) -> int | None:
        size = description.ByteSize() + _HEAD_BYTES
        if self.response.topics and (size > self._bytes_left or self._partitions_left == 0):
            return first_partition
        self._bytes_left -= size
        self.response.topics.append(description)
        return None

    def _add_partitions(
        self, description: TopicDescription, topic: TopicRecord, first_partition: int
    ) -> int | None:
        partitions = self._state.partitions_of(topic.topic_id)
        for number in range(first_partition, topic.partition_count):
            record = partitions.get(number)
            assert record is not None, "a topic that is ready has its partitions"
            item = _partition(self._state, record)
            size = item.ByteSize() + 4
            is_first = number == first_partition and len(self.response.topics) == 1
            if self._partitions_left == 0 or (size > self._bytes_left and not is_first):
                return number
            self._partitions_left -= 1
            self._bytes_left -= size
            description.partitions.append(item)
        return None


def _head(state: ClusterState, topic: TopicRecord) -> TopicDescription:
    flushed = _is_flushed(state, topic)
    return TopicDescription(
        name=topic.name,
        topic_id=topic.topic_id,
        partition_count=topic.partition_count,
        replication_factor=topic.replication_factor,
        internal=topic.internal,
        configs=topic.configs,
        durability=DURABILITY_FLUSHED if flushed else DURABILITY_REPLICATED,
        version=topic.version,
    )


def _is_flushed(state: ClusterState, topic: TopicRecord) -> bool:
    """Whether an acknowledgement means flushed on every broker that holds a replica."""
    settings = EffectiveSettings(state)
    relaxed = {
        node_id
        for node_id in state.brokers
        if not settings.is_on(FLUSH_ON_ACK, topic_id=topic.topic_id, node_id=node_id)
    }
    return not relaxed or relaxed.isdisjoint(
        replica.node_id
        for partition in state.partitions_of(topic.topic_id).values()
        for replica in partition.replicas
    )


def _partition(state: ClusterState, record: PartitionRecord) -> PartitionDescription:
    return PartitionDescription(
        partition=record.partition,
        leader=record.leader_id if record.HasField("leader_id") else None,
        leader_epoch=record.leader_epoch,
        replicas=[replica.node_id for replica in record.replicas],
        isr=record.isr,
        eligible_leader_replicas=record.eligible_leader_replicas,
        offline_replicas=[
            replica.node_id for replica in record.replicas if not is_online(state.brokers, replica)
        ],
    )
