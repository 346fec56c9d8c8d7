"""How long a broker trusts its session, and what it refuses once it can't."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import LeaderNotAvailable
from ottla.protocol.ids import NodeId
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.append_guard import check_may_append
from ottla_broker.metadata.controller_lease import ControllerLease
from ottla_broker.metadata.views import PartitionView

from .cluster_messages import partition

ME = NodeId(1)


def test_there_is_no_session_before_the_registration() -> None:
    assert not ControllerLease().is_held(0)


def test_a_session_counts_from_the_sending_of_the_last_heartbeat_that_was_answered() -> None:
    lease = ControllerLease()
    lease.began(sent_at_ms=1_000, timeout_ms=2_000)
    assert lease.is_held(2_999)
    assert not lease.is_held(3_000)
    lease.answered(sent_at_ms=1_500)
    assert lease.is_held(3_499)
    assert not lease.is_held(3_500)


def test_an_answer_that_comes_late_does_not_shorten_the_session() -> None:
    lease = ControllerLease()
    lease.began(sent_at_ms=0, timeout_ms=2_000)
    lease.answered(sent_at_ms=1_000)
    lease.answered(sent_at_ms=500)
    assert lease.is_held(2_999)


def test_a_session_taken_away_is_over_at_once() -> None:
    lease = ControllerLease()
    lease.began(sent_at_ms=0, timeout_ms=2_000)
    lease.ended()
    assert not lease.is_held(1)


@pytest.mark.parametrize(
    ("replicas", "isr", "acks", "allowed"),
    [
        ((1,), (1,), Acks.ALL, True),
        ((1,), (1,), Acks.LEADER, False),
        ((1,), (1,), Acks.NONE, False),
        ((1, 2, 3), (1, 2), Acks.ALL, True),
        ((1, 2, 3), (1,), Acks.ALL, False),
        ((1, 2, 3), (1, 2), Acks.LEADER, False),
    ],
)
def test_without_a_session_only_appends_that_others_check_go_on(
    replicas: tuple[int, ...], isr: tuple[int, ...], acks: Acks, allowed: bool
) -> None:
    view = PartitionView.of(partition(1, replicas=replicas, isr=isr).partition)
    check_may_append(view, acks, node_id=ME, lease_held=True)
    if allowed:
        check_may_append(view, acks, node_id=ME, lease_held=False)
    else:
        with pytest.raises(LeaderNotAvailable):
            check_may_append(view, acks, node_id=ME, lease_held=False)
