"""Records are due at an even rate, whatever happened before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla_cli.perf.open_loop import OpenLoop

RATES = st.floats(0.01, 1e7)


def test_due_times_are_even() -> None:
    loop = OpenLoop(500, started_ns=1_000)
    assert [loop.time_ns(number) for number in range(3)] == [1_000, 2_001_000, 4_001_000]


def test_nothing_is_due_before_the_start_and_the_first_at_it() -> None:
    loop = OpenLoop(500, started_ns=1_000)
    assert [loop.due_count(now) for now in (0, 999, 1_000, 2_000_999, 2_001_000)] == [0, 0, 1, 1, 2]


@given(RATES, st.integers(0, 10**15), st.integers(0, 10**13))
def test_what_is_due_agrees_with_when_it_is_due(rate: float, start_ns: int, passed_ns: int) -> None:
    loop = OpenLoop(rate, started_ns=start_ns)
    now_ns = start_ns + passed_ns
    count = loop.due_count(now_ns)
    assert count >= 1
    assert loop.time_ns(count - 1) <= now_ns < loop.time_ns(count)


def test_a_pause_does_not_move_what_comes_after_it() -> None:
    loop = OpenLoop(1_000, started_ns=0)
    # Asked again only after a second, the schedule wants all that was due meanwhile.
    assert loop.due_count(1_000_000_000) == 1_001
