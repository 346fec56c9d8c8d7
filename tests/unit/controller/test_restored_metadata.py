"""Metadata from a backup: what proves it, and what is lifted above that which was lost."""

from __future__ import annotations

import pytest

from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import (
    LeaderEpochFloor,
    RaiseLeaderEpochsRequest,
    RegisterBrokerRequest,
)
from ottla.protocol.errors import InvalidRequest, StaleBrokerEpoch
from ottla_controller.core.generations import (
    NOWHERE,
    Position,
    StoreFacts,
    registration_was_lost,
    settle_generation,
)
from ottla_controller.core.leader_epoch_floors import LEADER_EPOCH_MAX, raise_leader_epochs
from ottla_controller.core.limits import BROKER_EPOCH_SEEN_MAX
from ottla_controller.core.registration import register

from .cluster_context import ClusterContext


def settle(
    context: ClusterContext,
    *,
    store_id: str = "",
    revision: int = 100,
    seen: Position = NOWHERE,
    lost: int = 0,
) -> bool:
    facts = StoreFacts(store_id, revision)
    return context.write(
        settle_generation(context.state, store=facts, seen=seen, lost_generation=lost)
    )


def floor(context: ClusterContext, epoch: int, *, partition: int = 0) -> LeaderEpochFloor:
    topic_id = context.topic().topic_id
    return LeaderEpochFloor(topic_id=topic_id, partition=partition, leader_epoch=epoch)


def raised(context: ClusterContext, *floors: LeaderEpochFloor, node_id: int = 1) -> int:
    request = RaiseLeaderEpochsRequest(
        node_id=node_id, broker_epoch=context.epoch(node_id), floors=floors
    )
    return context.write(raise_leader_epochs(context.state, request))


def test_a_store_that_has_a_name_is_taken_on_once() -> None:
    context = ClusterContext()
    assert not settle(context, store_id="a")
    cluster = context.state.cluster
    assert (cluster.store_id, cluster.generation) == ("a", 1)
    writes = context.transaction_count
    assert not settle(context, store_id="a")
    assert not settle(context, store_id="")
    assert context.transaction_count == writes
    assert context.state.cluster.store_id == "a"


def test_records_found_in_another_store_begin_a_generation() -> None:
    context = ClusterContext()
    settle(context, store_id="a")
    assert settle(context, store_id="b")
    cluster = context.state.cluster
    assert (cluster.store_id, cluster.generation) == ("b", 2)
    assert not settle(context, store_id="b")


@pytest.mark.parametrize(
    ("seen", "generation"),
    [
        (Position(1, 100), 1),
        (Position(1, 101), 2),
        (Position(0, 5_000), 1),
        (Position(4, 1), 5),
        (NOWHERE, 1),
    ],
)
def test_who_has_seen_more_than_the_store_begins_a_generation_above_it(
    seen: Position, generation: int
) -> None:
    context = ClusterContext()
    settle(context, revision=100, seen=seen)
    assert context.state.cluster.generation == generation


def test_a_loss_that_was_settled_is_not_settled_again() -> None:
    context = ClusterContext()
    assert settle(context, revision=100, seen=Position(1, 500))
    assert not settle(context, revision=101, seen=Position(1, 500))
    assert context.state.cluster.generation == 2


def test_a_generation_begins_above_all_of_which_something_was_lost() -> None:
    context = ClusterContext()
    assert settle(context, lost=9)
    assert context.state.cluster.generation == 10
    assert not settle(context, lost=9)


def test_broker_epochs_rise_above_what_the_broker_has_had() -> None:
    context = ClusterContext()
    request = context.registration(1)
    request.broker_epoch_seen = 5_000
    assert context.write(register(context.state, request, session_remaining_ms=0)) == 5_001


def test_a_process_whose_later_registration_was_lost_gets_a_new_epoch() -> None:
    context = ClusterContext()
    request = context.registration(1)
    first = context.write(register(context.state, request, session_remaining_ms=0))
    request.broker_epoch_seen = first
    assert context.write(register(context.state, request, session_remaining_ms=0)) == first
    request.broker_epoch_seen = first + 40
    again = context.write(register(context.state, request, session_remaining_ms=2_000))
    assert again == first + 41, "it waits for no session of its own"


def test_directories_closed_under_a_forgotten_epoch_count_as_closed_cleanly() -> None:
    context = ClusterContext()
    context.start_brokers(1)
    context.create(configs={"flush.on.ack": "false"})
    context.register(1, clean_epoch=context.epoch(1) + 40)
    context.unfence(1)
    assert context.partition().isr == [1], "nothing of it was lost"
    assert context.leader() == 1


def test_an_epoch_seen_beyond_all_bounds_is_refused() -> None:
    context = ClusterContext()
    request = context.registration(1)
    request.broker_epoch_seen = BROKER_EPOCH_SEEN_MAX + 1
    with pytest.raises(InvalidRequest, match="broker_epoch_seen"):
        register(context.state, request, session_remaining_ms=0)


@pytest.mark.parametrize(
    ("seen", "version", "lost"),
    [
        (0, None, False),
        (40, None, True),
        (40, MetadataVersion(generation=1, revision=9), True),
        (40, MetadataVersion(generation=0, revision=9), False),
    ],
)
def test_a_registration_that_the_records_do_not_know_proves_a_loss_once(
    seen: int, version: MetadataVersion | None, *, lost: bool
) -> None:
    context = ClusterContext()
    context.start_brokers(1)
    request = RegisterBrokerRequest(
        node_id=1, broker_epoch_seen=context.epoch(1) + seen, applied_version=version
    )
    assert registration_was_lost(context.state, request) is lost
    request.node_id = 2
    assert not registration_was_lost(context.state, request), "it may have been removed"


def test_leader_epochs_rise_above_what_logs_hold_and_no_further() -> None:
    context = ClusterContext()
    context.start_brokers(1)
    context.create(partitions=3)
    before = context.partition(0)
    assert raised(context, floor(context, 7), floor(context, 0, partition=1)) == 1
    after = context.partition(0)
    assert (after.leader_epoch, after.partition_epoch) == (8, before.partition_epoch + 1)
    assert (after.leader_id, after.leader_broker_epoch) == (1, context.epoch(1))
    assert context.partition(1).leader_epoch == 1
    assert raised(context, floor(context, 7)) == 0, "asked again"


def test_only_holders_may_raise_epochs_and_only_within_bounds() -> None:
    context = ClusterContext()
    context.start_brokers(1, 2)
    context.create(assignments=[[1]])
    with pytest.raises(InvalidRequest, match="has a replica of"):
        raised(context, floor(context, 7), node_id=2)
    with pytest.raises(InvalidRequest, match="once"):
        raised(context, floor(context, 7), floor(context, 8))
    with pytest.raises(InvalidRequest, match="is below"):
        raised(context, floor(context, LEADER_EPOCH_MAX))
    with pytest.raises(InvalidRequest, match="at most 1000"):
        raised(context, *(floor(context, 1, partition=number) for number in range(1_001)))
    stale = RaiseLeaderEpochsRequest(node_id=1, broker_epoch=context.epoch(1) - 1)
    with pytest.raises(StaleBrokerEpoch):
        raise_leader_epochs(context.state, stale)
    gone = LeaderEpochFloor(topic_id=b"gone".ljust(16), leader_epoch=7)
    assert raised(context, gone) == 0
