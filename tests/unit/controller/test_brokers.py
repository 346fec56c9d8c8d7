"""Brokers register, are let in, fall silent, drain and lose disks."""

from __future__ import annotations

import pytest

from ottla.internal.controller.v1.controller_pb2 import HeartbeatRequest
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    InvalidRequest,
    StaleBrokerEpoch,
    UnsupportedVersion,
)
from ottla_controller.core import brokers, registration
from ottla_controller.core.heartbeats import Action, hear, standing

from .cluster_context import CLUSTER_ID, ClusterContext, contents, directory

NOW_MS = 10_000


@pytest.fixture
def cluster() -> ClusterContext:
    return ClusterContext()


def test_a_registered_broker_is_fenced_and_keeps_what_it_said(cluster: ClusterContext) -> None:
    epoch = cluster.register(1, rack="a")
    broker = cluster.broker(1)
    assert (broker.broker_epoch, broker.fenced, broker.rack) == (epoch, True, "a")
    assert [each.host for each in broker.endpoints] == ["broker-1"]
    assert [(each.directory_id, each.online) for each in broker.directories] == [
        (directory(1), True)
    ]


def test_broker_epochs_grow_with_every_registration_of_any_broker(cluster: ClusterContext) -> None:
    epochs = [cluster.register(node) for node in (1, 2, 1, 3, 1)]
    assert epochs == sorted(set(epochs))


def test_broker_epochs_grow_even_if_a_restored_store_counts_lower(cluster: ClusterContext) -> None:
    first = cluster.register(1)
    cluster.state.revision = 1  # as after a backup of long ago
    assert cluster.register(2) > first


def test_a_registration_repeated_by_the_same_process_repeats_its_epoch(
    cluster: ClusterContext,
) -> None:
    request = cluster.registration(1, process=7)
    first = cluster.write(registration.register(cluster.state, request, session_remaining_ms=0))
    cluster.unfence(1)
    before = contents(cluster.state)
    result = registration.register(cluster.state, request, session_remaining_ms=1_500)
    assert cluster.write(result) == first
    assert contents(cluster.state) == before


def test_another_process_under_a_live_node_id_is_refused_with_the_time_to_wait(
    cluster: ClusterContext,
) -> None:
    cluster.register(1)
    with pytest.raises(DuplicateNodeId) as caught:
        cluster.register(1, session_remaining_ms=700)
    assert caught.value.retry_after_ms == 700


def test_a_broker_that_closed_cleanly_may_come_back_before_its_session_ends(
    cluster: ClusterContext,
) -> None:
    first = cluster.register(1)
    assert cluster.register(1, session_remaining_ms=700, clean_epoch=first) > first


def test_the_mark_of_an_older_life_proves_nothing(cluster: ClusterContext) -> None:
    first = cluster.register(1)
    cluster.register(1)
    with pytest.raises(DuplicateNodeId):
        cluster.register(1, session_remaining_ms=700, clean_epoch=first)


def test_a_copied_log_directory_is_refused_while_the_other_broker_lives(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1)
    with pytest.raises(DuplicateNodeId, match="was it copied"):
        cluster.register(2, directories=[directory(1)])
    cluster.fence(1)
    cluster.register(2, directories=[directory(1)])


def test_a_directory_of_another_cluster_is_refused(cluster: ClusterContext) -> None:
    request = cluster.registration(1, cluster_id="another")
    with pytest.raises(ClusterMismatch, match="'another'"):
        registration.register(cluster.state, request, session_remaining_ms=0)
    request.cluster_id = CLUSTER_ID
    registration.register(cluster.state, request, session_remaining_ms=0)


def test_a_broker_that_knows_too_little_is_refused(cluster: ClusterContext) -> None:
    request = cluster.registration(1)
    request.feature_level_max = 0
    with pytest.raises(UnsupportedVersion, match="start a newer release"):
        registration.register(cluster.state, request, session_remaining_ms=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_id", 0),
        ("incarnation_id", b"short"),
        ("rack", "r" * 250),
        ("server_version", "v" * 65),
        ("directory_ids", []),
        ("directory_ids", [b"short"]),
        ("directory_ids", [directory(1), directory(1)]),
        ("directory_ids", [directory(1, number) for number in range(65)]),
        ("endpoints", []),
    ],
)
def test_a_registration_out_of_bounds_names_the_field(
    cluster: ClusterContext, field: str, value: object
) -> None:
    request = cluster.registration(1)
    request.ClearField(field)  # type: ignore[arg-type]  # a name from the table above
    if isinstance(value, list):
        getattr(request, field).extend(value)
    else:
        setattr(request, field, value)
    with pytest.raises(InvalidRequest) as caught:
        registration.register(cluster.state, request, session_remaining_ms=0)
    assert [error.field for error in caught.value.field_errors] == [field]


@pytest.mark.parametrize(
    ("field", "value"), [("host", ""), ("host", "h" * 254), ("port", 0), ("port", 65_536),
                         ("listener", ""), ("listener", "l" * 64)],
)  # fmt: skip
def test_an_endpoint_out_of_bounds_names_the_field(
    cluster: ClusterContext, field: str, value: object
) -> None:
    request = cluster.registration(1)
    setattr(request.endpoints[0], field, value)
    with pytest.raises(InvalidRequest) as caught:
        registration.register(cluster.state, request, session_remaining_ms=0)
    assert [error.field for error in caught.value.field_errors] == [f"endpoints[0].{field}"]


def test_two_endpoints_of_one_listener_are_refused(cluster: ClusterContext) -> None:
    request = cluster.registration(1)
    request.endpoints.append(request.endpoints[0])
    with pytest.raises(InvalidRequest, match="each listener once"):
        registration.register(cluster.state, request, session_remaining_ms=0)


def test_a_new_registration_bumps_the_epoch_of_every_partition_the_broker_led(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1)
    cluster.create(partitions=3)
    before = [cluster.partition(number) for number in range(3)]
    assert {each.leader_broker_epoch for each in before} == {cluster.epoch(1)}
    cluster.register(1)
    after = [cluster.partition(number) for number in range(3)]
    assert [each.leader_epoch for each in after] == [each.leader_epoch + 1 for each in before]
    assert not any(each.HasField("leader_id") for each in after)


def test_a_broker_that_comes_back_leads_again_under_its_new_epoch(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    cluster.create()
    first = cluster.partition()
    epoch = cluster.register(1)
    cluster.unfence(1)
    again = cluster.partition()
    assert (again.leader_id, again.leader_broker_epoch) == (1, epoch)
    assert again.leader_epoch > first.leader_epoch
    assert list(again.isr) == [1]
    assert not again.unclean


def test_fencing_takes_the_lead_and_unfencing_gives_it_back(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    cluster.create()
    assert cluster.fence(1)
    assert cluster.leader() is None
    assert list(cluster.partition().eligible_leader_replicas) == [1]
    assert not cluster.fence(1), "nothing is left to do"
    assert cluster.unfence(1)
    assert cluster.leader() == 1
    assert list(cluster.partition().eligible_leader_replicas) == []


def test_fencing_an_older_registration_leaves_the_newer_one_alone(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    old = cluster.epoch(1)
    cluster.start_brokers(1)
    result = brokers.fence(cluster.state, node_id=1, broker_epoch=old)
    assert not cluster.write(result)
    assert not cluster.broker(1).fenced


def test_a_draining_broker_hands_over_what_others_can_lead(cluster: ClusterContext) -> None:
    cluster.start_brokers(1, 2)
    cluster.create("shared", assignments=[[1, 2]])
    cluster.create("alone", assignments=[[1]])
    assert cluster.drain(1)
    assert (cluster.leader(topic="shared"), cluster.leader(topic="alone")) == (2, 1)
    cluster.fence(1)
    assert (cluster.leader(topic="shared"), cluster.leader(topic="alone")) == (2, None)


def test_one_broker_at_a_time_holds_the_maintenance_slot(cluster: ClusterContext) -> None:
    cluster.start_brokers(1, 2)
    assert cluster.drain(1)
    assert not cluster.drain(2)
    cluster.fence(1)
    assert cluster.drain(2)


def test_a_failed_directory_takes_its_replicas_out_of_the_lead(cluster: ClusterContext) -> None:
    cluster.register(1, directories=[directory(1, 1), directory(1, 2)])
    cluster.unfence(1)
    cluster.create(partitions=2)
    cluster.assign(1, {0: directory(1, 1), 1: directory(1, 2)})
    result = brokers.fail_directories(
        cluster.state, node_id=1, broker_epoch=cluster.epoch(1), directory_ids=[directory(1, 2)]
    )
    assert cluster.write(result)
    assert (cluster.leader(0), cluster.leader(1)) == (1, None)
    assert [each.online for each in cluster.broker(1).directories] == [True, False]


def test_an_empty_disk_never_leads(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    cluster.create()
    cluster.assign_all()
    cluster.register(1, directories=[directory(1, 9)])
    cluster.unfence(1)
    partition = cluster.partition()
    assert not partition.HasField("leader_id")
    assert (list(partition.isr), list(partition.eligible_leader_replicas)) == ([], [])
    assert list(partition.last_known_leader_replicas) == [1]


def test_the_disk_that_comes_back_leads_again(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    cluster.create()
    cluster.assign_all()
    cluster.register(1, directories=[directory(1, 9)])
    cluster.register(1, directories=[directory(1, 9), directory(1)])
    cluster.unfence(1)
    assert cluster.leader() == 1


def test_after_a_crash_only_what_is_flushed_on_ack_keeps_membership(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1, 2)
    cluster.create("flushed", assignments=[[1, 2]])
    cluster.create("in-memory", assignments=[[1, 2]], configs={"flush.on.ack": "false"})
    cluster.fence(2)
    cluster.register(1)
    cluster.unfence(1)
    flushed, memory = cluster.partition(topic="flushed"), cluster.partition(topic="in-memory")
    assert (cluster.leader(topic="flushed"), list(flushed.isr)) == (1, [1])
    assert (cluster.leader(topic="in-memory"), list(memory.isr)) == (None, [])
    assert list(memory.last_known_leader_replicas) == [1]


def test_after_a_clean_shutdown_everything_keeps_membership(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    cluster.create(configs={"flush.on.ack": "false"})
    cluster.register(1, clean_epoch=cluster.epoch(1))
    cluster.unfence(1)
    assert (cluster.leader(), cluster.partition().unclean) == (1, False)


def test_a_sole_replica_leads_again_after_a_crash_and_says_that_it_may_lack_records(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1)
    cluster.create(configs={"flush.on.ack": "false"})
    cluster.register(1)
    cluster.unfence(1)
    assert (cluster.leader(), cluster.partition().unclean) == (1, True)


def test_a_topic_may_allow_an_unclean_leader(cluster: ClusterContext) -> None:
    cluster.start_brokers(1, 2)
    cluster.create(
        assignments=[[1, 2]],
        configs={"flush.on.ack": "false", "unclean.leader.election.enable": "true"},
    )
    cluster.fence(2)
    cluster.register(1)
    cluster.unfence(1)
    assert (cluster.leader(), cluster.partition().unclean) == (1, True)
    assert list(cluster.partition().isr) == [1]


def test_a_registration_half_written_leaves_nothing_that_could_lead_wrongly(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1)
    cluster.create(partitions=200, configs={"flush.on.ack": "false"})
    old = cluster.epoch(1)
    result = registration.register(cluster.state, cluster.registration(1), session_remaining_ms=0)
    cluster.write(result, stop_after=1)
    assert cluster.epoch(1) == old, "the broker's own record comes last"
    assert list(cluster.partition(0).last_known_leader_replicas) == [1]


def test_what_a_controller_left_undone_is_found_by_the_records_alone(
    cluster: ClusterContext,
) -> None:
    cluster.start_brokers(1, 2)
    cluster.create(assignments=[[1, 2]] * 200)
    result = brokers.fence(cluster.state, node_id=1, broker_epoch=cluster.epoch(1))
    cluster.write(result, stop_after=1)
    assert {cluster.leader(number) for number in range(200)} == {1, 2}
    assert cluster.write(brokers.reconcile(cluster.state)) == 200 - 127
    assert {cluster.leader(number) for number in range(200)} == {2}
    assert cluster.write(brokers.reconcile(cluster.state)) == 0


def heard(cluster: ClusterContext, request: HeartbeatRequest, now_ms: int = NOW_MS) -> Action:
    return hear(cluster.state, cluster.sessions, request, now_ms=now_ms)


def test_a_heartbeat_keeps_the_session(cluster: ClusterContext) -> None:
    cluster.register(1)
    assert heard(cluster, cluster.heartbeat(1)) is Action.NONE
    assert cluster.sessions.remaining_ms(1, now_ms=NOW_MS + 500) == 1_500
    assert cluster.sessions.expired(NOW_MS + 1_999) == []
    assert cluster.sessions.expired(NOW_MS + 2_000) == [(1, cluster.epoch(1))]


def test_a_heartbeat_of_an_unknown_or_older_broker_asks_it_to_register(
    cluster: ClusterContext,
) -> None:
    cluster.register(1)
    old = cluster.heartbeat(1)
    cluster.register(1)
    for request in (old, cluster.heartbeat(2)):
        with pytest.raises(StaleBrokerEpoch, match="has to register"):
            heard(cluster, request)


def test_a_ready_broker_is_let_in_once_it_knows_of_its_registration(
    cluster: ClusterContext,
) -> None:
    epoch = cluster.register(1)
    cluster.sessions.begin(
        1, broker_epoch=epoch, registered_revision=cluster.state.revision, now_ms=NOW_MS
    )
    early = cluster.heartbeat(1, ready=True)
    early.applied_version.revision -= 1
    assert heard(cluster, early) is Action.NONE
    assert heard(cluster, cluster.heartbeat(1)) is Action.NONE, "it is not ready"
    assert heard(cluster, cluster.heartbeat(1, ready=True)) is Action.UNFENCE


def test_a_broker_behind_by_more_than_a_second_is_not_let_in(cluster: ClusterContext) -> None:
    cluster.register(1)
    request = cluster.heartbeat(1, ready=True)
    cluster.sessions.note_revision(cluster.state.revision + 1, now_ms=NOW_MS)
    assert heard(cluster, request, NOW_MS + 999) is Action.UNFENCE
    assert heard(cluster, request, NOW_MS + 1_000) is Action.NONE


def test_a_broker_with_metadata_of_another_generation_is_not_let_in(
    cluster: ClusterContext,
) -> None:
    cluster.register(1)
    request = cluster.heartbeat(1, ready=True)
    request.applied_version.generation = 2
    assert heard(cluster, request) is Action.NONE


def test_a_broker_that_wants_to_stop_drains_and_then_may(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    request = cluster.heartbeat(1, wants_shutdown=True)
    assert heard(cluster, request) is Action.DRAIN
    cluster.drain(1)
    assert not standing(cluster.state, request).may_shut_down
    assert heard(cluster, request) is Action.SHUT_DOWN
    cluster.fence(1)
    assert heard(cluster, request) is Action.NONE
    assert standing(cluster.state, request).may_shut_down


def test_a_broker_waits_while_another_is_being_maintained(cluster: ClusterContext) -> None:
    cluster.start_brokers(1, 2)
    cluster.drain(1)
    assert heard(cluster, cluster.heartbeat(2, wants_shutdown=True)) is Action.NONE


def test_failed_directories_are_told_once(cluster: ClusterContext) -> None:
    cluster.start_brokers(1)
    request = cluster.heartbeat(1, offline_directory_ids=[directory(1), b"unknown-directory"])
    assert heard(cluster, request) is Action.FAIL_DIRECTORIES
    cluster.write(
        brokers.fail_directories(
            cluster.state, node_id=1, broker_epoch=cluster.epoch(1), directory_ids=[directory(1)]
        )
    )
    assert heard(cluster, request) is Action.NONE


def test_a_late_controller_extends_every_session_by_its_lag(cluster: ClusterContext) -> None:
    cluster.register(1)
    heard(cluster, cluster.heartbeat(1))
    cluster.sessions.extend(700)
    assert cluster.sessions.expired(NOW_MS + 2_699) == []
    assert cluster.sessions.expired(NOW_MS + 2_700) == [(1, cluster.epoch(1))]
