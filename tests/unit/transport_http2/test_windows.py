"""Flow-control arithmetic, against a model that counts every byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.http2.windows import WINDOW_MAX, ReceiveWindow, SendWindow


@given(st.integers(0, WINDOW_MAX), st.lists(st.integers(-WINDOW_MAX, WINDOW_MAX), max_size=20))
def test_a_send_window_follows_every_shift_that_does_not_pass_the_maximum(
    start: int, shifts: list[int]
) -> None:
    window = SendWindow(start)
    model = start
    for delta in shifts:
        taken = window.shift(delta)
        assert taken == (model + delta <= WINDOW_MAX)
        model += delta if taken else 0
        assert window.size == model


def test_a_send_window_may_be_exactly_the_maximum_and_not_one_byte_more() -> None:
    window = SendWindow(WINDOW_MAX - 1)
    assert window.shift(1)
    assert not window.shift(1)
    assert window.size == WINDOW_MAX


@given(st.integers(1, 1000), st.lists(st.integers(0, 300), max_size=50))
def test_bytes_received_are_either_available_again_owed_or_held(
    limit: int, sizes: list[int]
) -> None:
    window = ReceiveWindow(limit)
    held = 0
    for index, size in enumerate(sizes):
        fits = size <= window.available
        assert window.debit(size) == fits
        if not fits:
            return
        held += size
        if index % 3:
            increment = window.credit(held)
            held = 0
            # Nothing is announced below half the window, and everything owed at once above.
            assert increment == 0 or (increment * 2 >= limit - 1 and window.owed == 0)
        assert window.available + window.owed + held == limit


def test_a_receive_window_announces_credit_once_half_of_it_is_owed() -> None:
    window = ReceiveWindow(100)
    assert window.debit(100)
    assert window.credit(49) == 0
    assert window.credit(1) == 50
    assert window.available == 50
    assert not window.debit(51)
