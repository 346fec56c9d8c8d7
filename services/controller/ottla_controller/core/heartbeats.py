"""A heartbeat: what the broker hears at once, and what its heartbeat should set in motion.

Owns the decision. The writes that it asks for go through the one write queue like all others; the
next heartbeat asks again for what has not happened yet.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ottla.internal.controller.v1.controller_pb2 import HeartbeatRequest
from ottla.protocol.errors import FieldError, InvalidRequest, StaleBrokerEpoch
from ottla.storage.metadata.v1.metadata_record_pb2 import BrokerRecord
from ottla_controller.core import limits
from ottla_controller.core.brokers import has_online, maintained_broker
from ottla_controller.core.sessions import SessionTable
from ottla_controller.core.state import ClusterState


class Action(enum.Enum):
    """What a heartbeat asks for."""

    NONE = enum.auto()
    UNFENCE = enum.auto()
    DRAIN = enum.auto()
    SHUT_DOWN = enum.auto()
    """Everything that could move has moved: fence it, so that clients learn of it at once."""
    FAIL_DIRECTORIES = enum.auto()


@dataclass(frozen=True, slots=True)
class BrokerStanding:
    """What the broker hears."""

    fenced: bool
    may_shut_down: bool


def hear(
    state: ClusterState, sessions: SessionTable, request: HeartbeatRequest, *, now_ms: int
) -> Action:
    """Takes a heartbeat: keeps the session, and says what should happen now.

    Raises:
        StaleBrokerEpoch: it is not of the latest registration under that node id.
        InvalidRequest: it names more directories than a broker can have.
    """
    broker = registered(state, node_id=request.node_id, broker_epoch=request.broker_epoch)
    if len(request.offline_directory_ids) > limits.DIRECTORIES_MAX:
        rule = f"has at most {limits.DIRECTORIES_MAX} items"
        raise InvalidRequest(
            f"offline_directory_ids {rule}",
            field_errors=[FieldError("offline_directory_ids", rule)],
        )
    sessions.touch(request.node_id, broker_epoch=request.broker_epoch, now_ms=now_ms)
    if has_online(broker, request.offline_directory_ids):
        return Action.FAIL_DIRECTORIES
    if request.wants_shutdown:
        return _stopping(state, broker)
    applied = request.applied_version
    current = applied.generation == state.cluster.generation and sessions.has_caught_up(
        request.node_id, applied_revision=applied.revision, now_ms=now_ms
    )
    return Action.UNFENCE if broker.fenced and request.ready and current else Action.NONE


def standing(state: ClusterState, request: HeartbeatRequest) -> BrokerStanding:
    """What the broker hears, as the records are now."""
    broker = registered(state, node_id=request.node_id, broker_epoch=request.broker_epoch)
    return BrokerStanding(broker.fenced, request.wants_shutdown and broker.fenced)


def registered(state: ClusterState, *, node_id: int, broker_epoch: int) -> BrokerRecord:
    """The broker of that epoch; raises `StaleBrokerEpoch` if there is none."""
    broker = state.brokers.get(node_id)
    if broker is None or broker.broker_epoch != broker_epoch:
        known = f"its epoch is {broker.broker_epoch}" if broker else "it is not registered"
        raise StaleBrokerEpoch(
            f"broker {node_id} spoke with epoch {broker_epoch}, {known}; it has to register"
        )
    return broker


def _stopping(state: ClusterState, broker: BrokerRecord) -> Action:
    if broker.fenced:
        return Action.NONE
    if broker.draining:
        return Action.SHUT_DOWN
    return Action.DRAIN if maintained_broker(state) is None else Action.NONE
