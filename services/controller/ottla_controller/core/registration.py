"""A broker's process begins: what it must bring, and what its coming means for its partitions.

Owns the checks of a registration and its records. A new broker epoch takes every leadership from
the broker, which bumps those leader epochs (replication rule 1); it leads again once it is
unfenced, under its new epoch. A replica whose directory is missing, or that may have lost what was
only in memory, leaves the in-sync and eligible sets (rule 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from ottla.internal.controller.v1.controller_pb2 import RegisterBrokerRequest
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    FieldError,
    InvalidRequest,
    UnsupportedVersion,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    DirectoryRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.brokers import visible_replicas_on, with_broker
from ottla_controller.core.effective_settings import EffectiveSettings, understood
from ottla_controller.core.import_writing import refuse_while_importing
from ottla_controller.core.partition_change import holds_directory, next_record
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState
from ottla_runtime.topic_configs import FLUSH_ON_ACK

_PORT_MAX = 65_535


def register(
    state: ClusterState, request: RegisterBrokerRequest, *, session_remaining_ms: int
) -> Result[int]:
    """Registers a broker; the response is its epoch. Repeating a registration repeats the answer.

    Args:
        state: the cluster.
        request: what the broker says of itself.
        session_remaining_ms: how long a session under this node id still lasts; 0: there is none.

    Raises:
        InvalidRequest: a field is missing or out of bounds; the error names it.
        ClusterMismatch: its directories belong to another cluster.
        UnsupportedVersion: it cannot do what the cluster's services do together.
        DuplicateNodeId: another process under this id, or with one of its directories, is alive.
        MetadataStoreUnavailable: what is there belongs to an import that is being taken back.
    """
    check_request(request)
    refuse_while_importing(state)
    if request.cluster_id and request.cluster_id != state.cluster.cluster_id:
        raise ClusterMismatch(
            f"the broker's data directory belongs to cluster {request.cluster_id!r:.80}, "
            f"this is cluster {state.cluster.cluster_id!r}"
        )
    if request.feature_level_max < state.cluster.feature_level:
        raise UnsupportedVersion(
            f"the cluster is at feature level {state.cluster.feature_level}, broker "
            f"{request.node_id} knows up to {request.feature_level_max}; start a newer release"
        )
    before = state.brokers.get(request.node_id)
    if before is not None and _is_repeated(request, before):
        return Result(before.broker_epoch)
    _check_alone(state, request, before, session_remaining_ms=session_remaining_ms)
    broker = _record(request, broker_epoch=_next_epoch(state, seen=request.broker_epoch_seen))
    clean = before is not None and _closed_cleanly(request, before)
    return Result(broker.broker_epoch, one_by_one(_changes(state, broker, clean=clean)))


def _changes(state: ClusterState, broker: BrokerRecord, *, clean: bool) -> Iterator[Put]:
    brokers = with_broker(state, broker)
    # What its last life was started with says what may be lost, not what this one was.
    settings = EffectiveSettings(state)
    for partition in visible_replicas_on(state, broker.node_id):
        replica = next(each for each in partition.replicas if each.node_id == broker.node_id)
        flushed = clean or settings.is_on(
            FLUSH_ON_ACK, topic_id=partition.topic_id, node_id=broker.node_id
        )
        losing = () if flushed and holds_directory(broker, replica) else (broker.node_id,)
        record = next_record(state, partition, brokers=brokers, losing=losing)
        if record is not None:
            yield Put(record)
    # The broker last: until all that it may have lost is written down, it is not registered.
    yield Put(broker)


def check_request(request: RegisterBrokerRequest) -> None:
    """Holds a registration to its bounds; raises `InvalidRequest`."""
    if request.node_id < 1:
        _refuse("node_id", "is 1 or more")
    if len(request.incarnation_id) != limits.ID_SIZE:
        _refuse("incarnation_id", f"has {limits.ID_SIZE} bytes")
    if len(request.rack) > limits.RACK_CHARS_MAX:
        _refuse("rack", f"has at most {limits.RACK_CHARS_MAX} characters")
    if len(request.server_version) > limits.VERSION_CHARS_MAX:
        _refuse("server_version", f"has at most {limits.VERSION_CHARS_MAX} characters")
    if not 1 <= len(request.directory_ids) <= limits.DIRECTORIES_MAX:
        _refuse("directory_ids", f"has 1 to {limits.DIRECTORIES_MAX} items")
    if any(len(each) != limits.ID_SIZE for each in request.directory_ids):
        _refuse("directory_ids", f"has items of {limits.ID_SIZE} bytes")
    if len(set(request.directory_ids)) < len(request.directory_ids):
        _refuse("directory_ids", "names each directory once")
    if request.broker_epoch_seen > limits.BROKER_EPOCH_SEEN_MAX:
        _refuse("broker_epoch_seen", f"is at most {limits.BROKER_EPOCH_SEEN_MAX}")
    _check_endpoints(request)


def _check_endpoints(request: RegisterBrokerRequest) -> None:
    if not 1 <= len(request.endpoints) <= limits.ENDPOINTS_MAX:
        _refuse("endpoints", f"has 1 to {limits.ENDPOINTS_MAX} items")
    for number, endpoint in enumerate(request.endpoints):
        if not 1 <= len(endpoint.host) <= limits.HOST_CHARS_MAX:
            _refuse(f"endpoints[{number}].host", f"has 1 to {limits.HOST_CHARS_MAX} characters")
        if not 1 <= endpoint.port <= _PORT_MAX:
            _refuse(f"endpoints[{number}].port", f"is from 1 to {_PORT_MAX}")
        if not 1 <= len(endpoint.listener) <= limits.LISTENER_CHARS_MAX:
            _refuse(
                f"endpoints[{number}].listener", f"has 1 to {limits.LISTENER_CHARS_MAX} characters"
            )
    if len({endpoint.listener for endpoint in request.endpoints}) < len(request.endpoints):
        _refuse("endpoints", "names each listener once")


def _refuse(field: str, rule: str) -> NoReturn:
    raise InvalidRequest(f"{field} {rule}", field_errors=[FieldError(field, rule)])


def _check_alone(
    state: ClusterState,
    request: RegisterBrokerRequest,
    before: BrokerRecord | None,
    *,
    session_remaining_ms: int,
) -> None:
    # One that says how its former self was closed proves that it is gone; so does its former self.
    gone = (
        before is None
        or before.incarnation_id == request.incarnation_id
        or _closed_cleanly(request, before)
    )
    if session_remaining_ms > 0 and not gone:
        raise DuplicateNodeId(
            f"a broker with node id {request.node_id} is alive; if it is the same one restarted, "
            f"its session ends in {session_remaining_ms} ms",
            retry_after_ms=session_remaining_ms,
        )
    claimed = set(request.directory_ids)
    for node_id in sorted(state.brokers):
        other = state.brokers[node_id]
        if node_id == request.node_id or other.fenced:
            continue
        if any(each.directory_id in claimed for each in other.directories):
            raise DuplicateNodeId(
                f"broker {node_id} is alive and has the same log directory; was it copied?"
            )


def _is_repeated(request: RegisterBrokerRequest, before: BrokerRecord) -> bool:
    """Whether the answer to this very registration was lost on its way.

    A process that had a later epoch since asks for a new one: the store was restored.
    """
    same = before.incarnation_id == request.incarnation_id
    return same and before.broker_epoch >= request.broker_epoch_seen


def _closed_cleanly(request: RegisterBrokerRequest, before: BrokerRecord) -> bool:
    # A later epoch than the record's is of a registration that a restored store has forgotten.
    return (
        request.HasField("clean_shutdown_epoch")
        and request.clean_shutdown_epoch >= before.broker_epoch
    )


def _next_epoch(state: ClusterState, *, seen: int) -> int:
    # Revisions grow with every write; after a restored backup the epochs seen may be ahead of them.
    had = [broker.broker_epoch for broker in state.brokers.values()]
    return max([state.revision, seen, *had]) + 1


def _record(request: RegisterBrokerRequest, *, broker_epoch: int) -> BrokerRecord:
    return BrokerRecord(
        node_id=request.node_id,
        broker_epoch=broker_epoch,
        endpoints=request.endpoints,
        rack=request.rack,
        directories=[
            DirectoryRecord(directory_id=each, online=True) for each in request.directory_ids
        ],
        fenced=True,
        server_version=request.server_version,
        feature_level_max=request.feature_level_max,
        incarnation_id=request.incarnation_id,
        static_topic_configs=understood(request.static_topic_configs),
    )
