"""An import is written: into a cluster that has nothing yet, whole or not at all.

Owns the order of writes and what becomes of the records. The marker goes first and leaves with the
cluster's own record, in one transaction: until then nothing is seen, and nobody else may write
(`refuse_while_importing`). If the controller dies before that, `undo_import` takes everything away.

Ids, settings and epochs stay. Nobody has heard of the brokers here, so they are fenced, and their
partitions have no leaders until they register; the epochs rise with that.
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.protocol.errors import InvalidRequest, MetadataStoreUnavailable
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    ImportRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.partition_change import next_record
from ottla_controller.core.record_keys import IMPORT_KEY, Record, key_of
from ottla_controller.core.result import Put, Remove, Result, Step
from ottla_controller.core.state import ClusterState

_RETRY_AFTER_MS = 500


def import_metadata(state: ClusterState, exported: ClusterState) -> Result[None]:
    """Takes over everything that was exported, which was checked before.

    Raises:
        InvalidRequest: the cluster has topics, brokers or settings already, and they aren't what
            this very import would bring.
        MetadataStoreUnavailable: an import before this one is being taken back.
    """
    refuse_while_importing(state)
    cluster = _cluster(state, exported)
    if not is_empty(state):
        if _is_imported(state, exported):
            return Result(None)  # the answer to it was lost
        hint = (
            "; it is the cluster that was exported, so an import before this one has succeeded"
            if state.cluster.cluster_id == exported.cluster.cluster_id
            else ""
        )
        raise InvalidRequest(
            f"the cluster has {len(state.topics)} topics, {len(state.brokers)} brokers and "
            f"{len(state.configs)} sets of settings; import goes into a cluster without any{hint}"
        )
    return Result(None, _steps(exported, cluster))


def is_empty(state: ClusterState) -> bool:
    """Whether the cluster has nothing that an import could get mixed up with."""
    return not (state.topics or state.brokers or state.configs)


def refuse_while_importing(state: ClusterState) -> None:
    """Raises `MetadataStoreUnavailable` while there is an import that isn't whole."""
    if state.import_record is not None:
        raise MetadataStoreUnavailable(
            f"an import of cluster {state.import_record.cluster_id!r} is being written, or taken "
            "back",
            retry_after_ms=_RETRY_AFTER_MS,
        )


def undo_import(state: ClusterState) -> Result[int]:
    """Takes away all that an import left, its marker last; the response counts records."""
    if state.import_record is None:
        return Result(0)
    keys = [key_of(record) for record in state.records() if _is_of_import(record)]
    # Children first: a partition whose topic is gone would be found by nobody.
    return Result(len(keys), ((Remove(key),) for key in [*reversed(keys), IMPORT_KEY]))


def _is_of_import(record: Record) -> bool:
    match record:
        case ClusterRecord() | ControllerRecord() | ImportRecord():
            return False
        case BrokerRecord() | ConfigRecord() | TopicRecord() | PartitionRecord():
            return True


def _cluster(state: ClusterState, exported: ClusterState) -> ClusterRecord:
    record = ClusterRecord()
    record.CopyFrom(exported.cluster)
    # Versions only grow: for brokers that followed the exporter, and for who follows here.
    record.generation = max(exported.cluster.generation + 1, state.cluster.generation)
    record.store_id = state.cluster.store_id
    return record


def _steps(exported: ClusterState, cluster: ClusterRecord) -> Iterator[Step]:
    yield (Put(ImportRecord(cluster_id=cluster.cluster_id)),)
    for record in _records(exported):
        yield (Put(record),)
    yield (Put(cluster), Remove(IMPORT_KEY))


def _records(exported: ClusterState) -> Iterator[Record]:
    """What is written beside the cluster's record."""
    brokers = {node_id: _fenced(broker) for node_id, broker in exported.brokers.items()}
    settings = EffectiveSettings(exported, brokers=brokers)
    yield from brokers.values()
    yield from exported.configs.values()
    for topic in exported.topics.values():
        yield topic
        for partition in exported.partitions_of(topic.topic_id).values():
            changed = next_record(exported, partition, brokers=brokers, settings=settings)
            yield changed or partition


def _fenced(broker: BrokerRecord) -> BrokerRecord:
    record = BrokerRecord()
    record.CopyFrom(broker)
    record.fenced, record.draining = True, False
    # Also a process that lives on has to register anew, and gets a higher epoch.
    record.incarnation_id = b""
    return record


def _is_imported(state: ClusterState, exported: ClusterState) -> bool:
    """Whether the cluster is just what the import brings."""
    if state.cluster != _cluster(state, exported):
        return False
    there = {key_of(record): record for record in state.records() if _is_of_import(record)}
    return all(there.pop(key_of(record), None) == record for record in _records(exported)) and (
        not there
    )
