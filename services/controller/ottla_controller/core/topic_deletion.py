"""Topics cease to be: first for everybody to see, then record by record.

Owns both halves. A deletion is acknowledged once the topic's record says deleting; from then on it
is gone for everybody and its name is free. Its partitions and last its own record are removed by
`sweep`, a portion at a time, as often as there is something left: whoever is the controller then
finds it by the records alone. So are partitions that a topic was to get and didn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ottla.api.admin.v1.admin_pb2 import DeleteTopicResult, TopicRef
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidRequest, OttlaError, UnknownTopicOrPartition
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_CREATING,
    TOPIC_STATE_DELETING,
    TOPIC_STATE_READY,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.import_writing import undo_import
from ottla_controller.core.record_keys import partition_key, topic_key
from ottla_controller.core.result import STEP_CHANGES_MAX, Change, Put, Remove, Result, one_by_one
from ottla_controller.core.state import ClusterState


def find_topic(state: ClusterState, ref: TopicRef) -> TopicRecord:
    """The topic that is meant, among those that users see.

    Raises:
        UnknownTopicOrPartition: there is none, or the name has become another topic's.
        InvalidRequest: neither a name nor an id is given, or the id has the wrong size.
    """
    if not ref.name and not ref.topic_id:
        raise InvalidRequest("a topic is named by its name, its id or both")
    if ref.topic_id and len(ref.topic_id) != limits.ID_SIZE:
        raise InvalidRequest(f"a topic's id has {limits.ID_SIZE} bytes, not {len(ref.topic_id)}")
    topic = state.topics.get(ref.topic_id) if ref.topic_id else state.topic_named(ref.name)
    shown = repr(ref.name[:250]) if ref.name else ref.topic_id.hex()
    if topic is None or topic.state != TOPIC_STATE_READY:
        raise UnknownTopicOrPartition(
            f"there is no topic {shown}", metadata={"topic": ref.name[:250]}
        )
    if ref.name and topic.name != ref.name:
        raise UnknownTopicOrPartition(
            f"the topic of id {ref.topic_id.hex()} is {topic.name!r}, not {shown}",
            metadata={"topic": ref.name[:250]},
        )
    return topic


def delete_topics(
    state: ClusterState, refs: Sequence[TopicRef], *, validate_only: bool
) -> Result[list[DeleteTopicResult]]:
    """Deletes what is there; a result for each, in order."""
    results, changes = [], []
    done: set[bytes] = set()
    for ref in refs:
        try:
            topic = find_topic(state, ref)
            if topic.topic_id in done:
                raise InvalidRequest(
                    f"topic {topic.name!r} is named twice", metadata={"topic": topic.name}
                )
        except OttlaError as error:
            results.append(
                DeleteTopicResult(
                    name=ref.name[:250], topic_id=ref.topic_id[:64], error=to_proto(error)
                )
            )
            continue
        done.add(topic.topic_id)
        changes.append(Put(_deleting(topic)))
        results.append(DeleteTopicResult(name=topic.name, topic_id=topic.topic_id))
    return Result(results, () if validate_only else one_by_one(changes))


def sweep(state: ClusterState) -> Result[int]:
    """Removes a portion of what is left over; the response counts the records it changes.

    Runs between other writes: a topic that is creating or growing then has nobody who finishes it.
    """
    if state.import_record is not None:
        return undo_import(state)
    changes: list[Change] = _surplus(state)
    for topic_id in state.unready_topic_ids:
        topic = state.topics[topic_id]
        if len(changes) >= STEP_CHANGES_MAX:
            break
        if topic.state == TOPIC_STATE_CREATING:
            changes.append(Put(_deleting(topic)))
            continue
        room = STEP_CHANGES_MAX - len(changes)
        numbers = sorted(state.partitions_of(topic.topic_id))
        changes += [Remove(partition_key(topic.topic_id, each)) for each in numbers[:room]]
        if len(numbers) < room:
            changes.append(Remove(topic_key(topic.topic_id)))
    return Result(len(changes), one_by_one(changes))


def _surplus(state: ClusterState) -> list[Change]:
    beyond = (
        partition_key(topic_id, number)
        for topic_id, numbers in state.surplus.items()
        for number in sorted(numbers)
    )
    return [Remove(key) for key in islice(beyond, STEP_CHANGES_MAX)]


def _deleting(topic: TopicRecord) -> TopicRecord:
    record = TopicRecord()
    record.CopyFrom(topic)
    record.state = TOPIC_STATE_DELETING
    record.version += 1
    return record
