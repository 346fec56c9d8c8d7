"""What keeps a consumer from its partitions is told once, and once when it is over."""

from __future__ import annotations

import logging

import pytest

from kit.clock import ManualClock
from ottla.client.core.addresses import Address
from ottla.client.core.positions import TopicPartition
from ottla.client.fetch_troubles import LEADERLESS_MS_MAX, FetchTroubles
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.errors import Throttled

HERE = Address("10.0.0.1", 9092)
PLACE = TopicPartition("flights", 3)
REFUSED = TransportFailed("connection refused")


class Context:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.clock = ManualClock()
        self.troubles = FetchTroubles(clock=self.clock)
        self._caplog = caplog

    def told(self) -> list[str]:
        """What was logged since the last time."""
        assert all(each.levelno == logging.WARNING for each in self._caplog.records)
        found = [each.getMessage() for each in self._caplog.records]
        self._caplog.clear()
        return found


@pytest.fixture
def context(caplog: pytest.LogCaptureFixture) -> Context:
    return Context(caplog)


def test_a_broker_that_fails_again_and_again_is_told_of_once_until_it_answers(
    context: Context,
) -> None:
    context.troubles.session_broke(1, HERE, REFUSED)
    assert context.told() == []
    for _ in range(5):
        context.troubles.session_broke(1, HERE, REFUSED)
    assert context.told() == [
        "broker 1 at 10.0.0.1:9092 can't be fetched from, trying on: connection refused"
    ]
    for _ in range(3):
        context.troubles.heard(1)
    assert context.told() == ["broker 1 answers again"]
    for _ in range(2):
        context.troubles.session_broke(1, HERE, REFUSED)
    assert len(context.told()) == 1


def test_a_session_that_breaks_now_and_then_is_no_news(context: Context) -> None:
    for _ in range(5):
        context.troubles.session_broke(1, HERE, REFUSED)
        context.troubles.heard(1)
        context.troubles.session_broke(2, HERE, REFUSED)
        context.troubles.heard(2)
    assert context.told() == []


def test_a_partition_without_a_leader_is_told_of_once_until_it_has_one(context: Context) -> None:
    context.troubles.no_leader(PLACE)
    context.clock.tick(LEADERLESS_MS_MAX - 1)
    context.troubles.no_leader(PLACE)
    assert context.told() == []
    context.clock.tick(1)
    for _ in range(3):
        context.troubles.no_leader(PLACE)
    assert context.told() == ["flights-3 has no leader to fetch from, trying on"]
    for _ in range(2):
        context.troubles.leader_found(PLACE)
    assert context.told() == ["flights-3 has a leader again"]


def test_an_election_is_no_news(context: Context) -> None:
    context.troubles.no_leader(PLACE)
    context.clock.tick(LEADERLESS_MS_MAX - 1)
    context.troubles.leader_found(PLACE)
    context.troubles.no_leader(PLACE)
    context.clock.tick(LEADERLESS_MS_MAX - 1)
    context.troubles.no_leader(PLACE)
    assert context.told() == []


def test_partitions_beyond_what_a_broker_takes_are_told_of_once(context: Context) -> None:
    error = Throttled("a session has at most 20000 subscriptions")
    for _ in range(3):
        context.troubles.throttled(PLACE, error)
    assert context.told() == [
        "flights-3, and perhaps others, waits until fewer partitions are read from its broker: "
        "a session has at most 20000 subscriptions"
    ]


def test_a_partition_that_is_read_no_more_is_forgotten(context: Context) -> None:
    context.troubles.no_leader(PLACE)
    context.clock.tick(LEADERLESS_MS_MAX)
    context.troubles.no_leader(PLACE)
    assert len(context.told()) == 1
    context.troubles.forget(PLACE)
    context.troubles.leader_found(PLACE)
    context.troubles.no_leader(PLACE)
    assert context.told() == []
