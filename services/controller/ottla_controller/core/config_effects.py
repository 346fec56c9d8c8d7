"""What follows for partitions when settings change.

Owns the order of writes around altered settings (replication rule 8). Where `min.insync.replicas`
changes, the eligible replicas of partitions that are led go first: under a lower one the leader
commits without them, so they must not count before it hears of it. Then the settings. Then
partitions without a leader are looked at anew, for the settings may allow one. A controller that
dies in between leaves fewer eligible replicas, which is safe, or elections that `reconcile` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    ConfigRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.partition_change import next_record
from ottla_controller.core.result import Put, Step, one_by_one
from ottla_controller.core.state import ClusterState
from ottla_runtime.topic_configs import MIN_INSYNC_REPLICAS, UNCLEAN_LEADER_ELECTION

_ELECTING = (MIN_INSYNC_REPLICAS, UNCLEAN_LEADER_ELECTION)


@dataclass(slots=True)
class AlteredSettings:
    """Records of settings as they shall be."""

    topics: dict[bytes, TopicRecord] = field(default_factory=dict)
    configs: dict[int | None, ConfigRecord] = field(default_factory=dict)

    def take(self, record: TopicRecord | ConfigRecord) -> None:
        """One more."""
        if isinstance(record, TopicRecord):
            self.topics[record.topic_id] = record
        else:
            self.configs[record.node_id if record.HasField("node_id") else None] = record


def steps_for(state: ClusterState, altered: AlteredSettings) -> Iterator[Step]:
    """The writes of altered settings in the order they have to come in, made when asked for."""
    before = EffectiveSettings(state)
    after = EffectiveSettings(state, topics=altered.topics, configs=altered.configs)
    topic_ids = list(_concerned(state, altered))
    yield from one_by_one(_cleared(state, topic_ids, before, after))
    yield from one_by_one(Put(topic) for topic in altered.topics.values())
    yield from one_by_one(Put(config) for config in altered.configs.values())
    yield from one_by_one(_elections(state, topic_ids, after))


def _concerned(state: ClusterState, altered: AlteredSettings) -> Iterator[bytes]:
    """Topics whose partitions may be others than they would be under the settings before."""
    if any(
        _differ(EffectiveSettings(state).of_node(node_id), record.configs)
        for node_id, record in altered.configs.items()
    ):
        yield from (id_ for id_, each in state.topics.items() if each.state == TOPIC_STATE_READY)
        return
    for topic_id, topic in altered.topics.items():
        if _differ(state.topics[topic_id].configs, topic.configs):
            yield topic_id


def _differ(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    return any(old.get(name) != new.get(name) for name in _ELECTING)


def _cleared(
    state: ClusterState,
    topic_ids: list[bytes],
    before: EffectiveSettings,
    after: EffectiveSettings,
) -> Iterator[Put]:
    for partition in _partitions(state, topic_ids):
        # Without a leader nobody commits anything: who is eligible holds all there is.
        if not partition.eligible_leader_replicas or not partition.HasField("leader_id"):
            continue
        if before.minimum_in_sync(partition) == after.minimum_in_sync(partition):
            continue
        record = PartitionRecord()
        record.CopyFrom(partition)
        del record.eligible_leader_replicas[:]
        record.partition_epoch += 1
        yield Put(record)


def _elections(
    state: ClusterState, topic_ids: list[bytes], after: EffectiveSettings
) -> Iterator[Put]:
    for partition in _partitions(state, topic_ids):
        if not partition.HasField("leader_id"):
            record = next_record(state, partition, settings=after)
            if record is not None:
                yield Put(record)


def _partitions(state: ClusterState, topic_ids: list[bytes]) -> Iterator[PartitionRecord]:
    for topic_id in topic_ids:
        yield from list(state.partitions_of(topic_id).values())
