"""Credit of a fetch session: exact in sum, fair between partitions, never stuck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.errors import InvalidRequest
from ottla_broker.core.fetch_credit import (
    CREDIT_MAX,
    UNREAD_COUNT_LEAST,
    CreditLedger,
    Turns,
)


def test_a_message_may_take_the_balance_below_zero_once() -> None:
    ledger = CreditLedger()
    turns = Turns(ledger)
    turns.add(1)
    assert turns.next(subscription_count=1) is None
    ledger.grant(10)
    assert turns.next(subscription_count=1) == 1
    ledger.sent(1, 100)
    assert (ledger.balance, ledger.window, turns.next(subscription_count=1)) == (-90, 10, None)
    ledger.grant(90)
    assert turns.next(subscription_count=1) is None
    ledger.grant(10)
    assert turns.next(subscription_count=1) == 1


def test_ready_subscriptions_are_served_in_turns() -> None:
    ledger = CreditLedger()
    turns = Turns(ledger)
    ledger.grant(1_000)
    for subscription_id in (3, 1, 2):
        turns.add(subscription_id)
    turns.add(3)  # again changes nothing
    assert [turns.next(subscription_count=3) for _ in range(5)] == [3, 1, 2, 3, 1]
    turns.remove(2)
    assert [turns.next(subscription_count=3) for _ in range(3)] == [3, 1, 3]


def test_none_of_several_holds_more_than_half() -> None:
    ledger = CreditLedger()
    turns = Turns(ledger)
    ledger.grant(100)
    turns.add(1)
    while (turn := turns.next(subscription_count=2)) is not None:
        ledger.sent(turn, 10)
    assert (ledger.held(1), ledger.balance) == (50, 50)
    turns.add(2)
    assert turns.next(subscription_count=2) == 2
    assert turns.next(subscription_count=2) == 2
    ledger.grant(10)
    assert turns.next(subscription_count=2) == 1


def test_one_alone_may_use_all_of_it() -> None:
    ledger = CreditLedger()
    turns = Turns(ledger)
    ledger.grant(100)
    turns.add(1)
    for _ in range(10):
        assert turns.next(subscription_count=1) == 1
        ledger.sent(1, 10)
    assert turns.next(subscription_count=1) is None


def test_credit_beyond_reason_is_refused() -> None:
    ledger = CreditLedger()
    ledger.grant(CREDIT_MAX)
    with pytest.raises(InvalidRequest):
        ledger.grant(1)
    with pytest.raises(InvalidRequest):
        ledger.grant(2**64 - 1)
    assert ledger.balance == CREDIT_MAX


_actions = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(0, 200)),
        st.tuples(st.just("send"), st.integers(1, 300)),
        st.tuples(st.just("read"), st.integers(1, 300)),
        st.tuples(st.just("leave"), st.integers(1, 4)),
    ),
    max_size=100,
)


@given(actions=_actions, count=st.integers(1, 4))
def test_whoever_reads_what_came_is_sent_more(actions: list[tuple[str, int]], count: int) -> None:
    """The client returns in any portions what it read; more credit than it gave is never used."""
    ledger = CreditLedger()
    turns = Turns(ledger)
    for subscription_id in range(1, count + 1):
        turns.add(subscription_id)
    granted = sent = read = 0
    for action, size in [("grant", 100), *actions]:
        if action == "grant":
            ledger.grant(size)
            granted += size
        elif action == "read":
            returned = min(size, sent - read)
            ledger.grant(returned)
            read += returned
        elif action == "leave":
            ledger.left(size)  # and another begins under the same id
        elif (turn := turns.next(subscription_count=count)) is not None:
            ledger.sent(turn, size)
            sent += size
        assert ledger.balance == granted - (sent - read)
        assert sum(ledger.held(each) for each in range(1, count + 1)) <= sent - read
    ledger.grant(sent - read)
    assert ledger.window == granted
    assert turns.next(subscription_count=count) is not None


def test_credit_that_is_never_returned_takes_no_more_memory_with_every_message() -> None:
    ledger = CreditLedger()
    ledger.grant(CREDIT_MAX)
    for number in range(3 * UNREAD_COUNT_LEAST):
        ledger.sent(1 + number % 3, 10)
    assert len(ledger._unread) <= UNREAD_COUNT_LEAST + 6
    assert [ledger.held(each) for each in (1, 2, 3)] == [10 * UNREAD_COUNT_LEAST] * 3
    assert ledger.window == CREDIT_MAX


def test_subscriptions_that_are_over_leave_only_the_sum_of_what_is_out() -> None:
    ledger = CreditLedger()
    ledger.grant(1_000_000)
    for number in range(1, 1_001):
        ledger.sent(number, 10)
        ledger.left(number)
    ledger.sent(7, 30)  # an id may be used again
    assert (len(ledger._held), ledger.window, ledger.held(7)) == (2, 1_000_000, 30)
    ledger.grant(10_000)
    assert (ledger.window, sum(ledger._held.values())) == (1_000_000, 30)
    ledger.grant(30)
    assert (ledger._held, ledger.balance) == ({}, 1_000_000)
