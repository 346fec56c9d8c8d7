"""Whether the records come from a backup, and the generation that sets them off from what was lost.

A store that is restored has forgotten revisions that brokers and clients have seen, and will give
their numbers to other changes. Versions are (generation, revision), so that they only grow all the
same: the generation rises with every restore that is noticed. Owns the evidence and the record's
change; who looks when is `control`'s. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ottla.internal.controller.v1.controller_pb2 import RegisterBrokerRequest
from ottla.storage.metadata.v1.metadata_record_pb2 import ClusterRecord
from ottla_controller.core.result import Put, Result
from ottla_controller.core.state import ClusterState


class Position(NamedTuple):
    """A point that a store has come to, as somebody has seen it."""

    generation: int
    revision: int


NOWHERE = Position(0, 0)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What is known of the store that holds the records now."""

    store_id: str
    """As the store names itself; empty: it does not."""
    revision: int
    """Its latest revision, no older than the question."""


def is_elsewhere(cluster: ClusterRecord, store_id: str) -> bool:
    """Whether the records were written into another store than the one that holds them now."""
    return bool(cluster.store_id and store_id) and cluster.store_id != store_id


def has_lost(cluster: ClusterRecord, store: StoreFacts, seen: Position) -> bool:
    """Whether somebody has seen what these records do not lead up to."""
    generation = cluster.generation
    return seen.generation > generation or (
        seen.generation == generation and seen.revision > store.revision
    )


def settle_generation(
    state: ClusterState, *, store: StoreFacts, seen: Position = NOWHERE, lost_generation: int = 0
) -> Result[bool]:
    """Writes down which store this is; the generation rises if its records were restored.

    The response says whether it rose. Again with the same facts: no change.

    Args:
        state: the cluster, which exists.
        store: the store as it is now.
        seen: the latest position that anybody told of.
        lost_generation: of which something else shows that the store has lost a part; 0: of none.
    """
    before = state.cluster
    assert before.cluster_id, "there is a cluster"
    moved = is_elsewhere(before, store.store_id)
    lost = lost_generation >= before.generation or has_lost(before, store, seen)
    restored = moved or lost
    store_id = store.store_id or before.store_id
    if not restored and store_id == before.store_id:
        return Result(False)
    record = ClusterRecord()
    record.CopyFrom(before)
    record.store_id = store_id
    if restored:
        record.generation = max(before.generation, seen.generation, lost_generation) + 1
    return Result(restored, ((Put(record),),))


def registration_was_lost(state: ClusterState, request: RegisterBrokerRequest) -> bool:
    """Whether the broker was registered later than the records know, in this generation.

    A registration is answered once it is stored, so a store without it was restored since. A broker
    without any record proves nothing, for it may have been removed; one that knows no later version
    than of an earlier generation tells of a loss that was noticed before.
    """
    before = state.brokers.get(request.node_id)
    if before is None or request.broker_epoch_seen <= before.broker_epoch:
        return False
    applied = request.applied_version
    return not request.HasField("applied_version") or applied.generation >= state.cluster.generation
