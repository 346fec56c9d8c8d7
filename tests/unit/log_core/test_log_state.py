"""The offsets of a log keep their order whatever happens to it."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import OffsetOutOfRange
from ottla_broker.core.log_state import LogState


def state(log_start: int = 0, high: int = 0, flushed: int = 0, end: int = 0) -> LogState:
    return LogState(log_start, high, flushed, end)


def test_flush_moves_the_flushed_end_up_to_what_it_covered() -> None:
    log = state()
    log.appended(10)
    assert log.flushed(generation=0, next_offset=6)
    assert log.flushed_end == 6
    assert not log.flushed(generation=0, next_offset=6)
    assert not log.flushed(generation=0, next_offset=3)
    assert log.flushed_end == 6


def test_flush_of_an_older_generation_says_nothing() -> None:
    log = state(end=10, flushed=2, high=2)
    log.truncate(5)
    log.appended(12)
    assert not log.flushed(generation=0, next_offset=10)
    assert log.flushed_end == 2
    assert log.flushed(generation=1, next_offset=12)


def test_high_watermark_only_grows_and_stays_within_the_log() -> None:
    log = state(end=10)
    assert log.advance_high_watermark(7)
    assert not log.advance_high_watermark(5)
    assert log.high_watermark == 7
    with pytest.raises(AssertionError):
        log.advance_high_watermark(11)


def test_log_start_never_passes_the_high_watermark() -> None:
    log = state(end=10, high=6)
    assert log.advance_log_start(6)
    assert not log.advance_log_start(2)
    with pytest.raises(OffsetOutOfRange) as caught:
        log.advance_log_start(7)
    assert caught.value.metadata == {"earliest_offset": "6", "latest_offset": "6"}
    with pytest.raises(OffsetOutOfRange):
        log.advance_log_start(-2)


def test_truncation_below_the_high_watermark_needs_an_unclean_election() -> None:
    log = state(end=10, high=8, flushed=9)
    with pytest.raises(AssertionError):
        log.truncate(5)
    assert log.truncate(5, below_high_watermark=True)
    assert (log.high_watermark, log.flushed_end, log.log_end) == (5, 5, 5)


def test_truncation_at_the_end_changes_nothing_but_the_generation() -> None:
    log = state(end=10, high=8, flushed=9)
    assert not log.truncate(10)
    assert (log.log_end, log.flushed_end, log.generation) == (10, 9, 1)


def test_order_of_offsets_is_asserted_from_the_start() -> None:
    with pytest.raises(AssertionError):
        state(log_start=5, high=4, end=9)
    with pytest.raises(AssertionError):
        state(flushed=9, end=8)
