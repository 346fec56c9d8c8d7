"""Which epoch wrote which offsets, and where two logs part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.leader_epochs import EpochStart, LeaderEpochs


def epochs(*entries: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs(EpochStart(*entry) for entry in entries)


def test_epoch_ends_where_the_next_begins() -> None:
    log = epochs((0, 0), (3, 120), (4, 950))
    assert log.end_offset(0, log_end=1_000) == EpochStart(0, 120)
    assert log.end_offset(2, log_end=1_000) == EpochStart(0, 120)
    assert log.end_offset(3, log_end=1_000) == EpochStart(3, 950)
    assert log.end_offset(9, log_end=1_000) == EpochStart(4, 1_000)


def test_nothing_is_known_of_epochs_before_the_first() -> None:
    assert epochs((3, 120)).end_offset(2, log_end=200) is None
    assert epochs().end_offset(0, log_end=0) is None


def test_epoch_that_wrote_nothing_is_replaced_by_its_successor() -> None:
    log = epochs((1, 10))
    assert log.begin(2, 10)
    assert log.entries == (EpochStart(2, 10),)
    assert not log.begin(2, 30)


@pytest.mark.parametrize(("epoch", "start"), [(1, 20), (3, 9), (-1, 20)])
def test_epochs_never_go_back(epoch: int, start: int) -> None:
    with pytest.raises(ValueError, match=r"does not follow|is negative"):
        epochs((2, 10)).begin(epoch, start)


def test_truncated_end_forgets_epochs_that_began_there() -> None:
    log = epochs((0, 0), (3, 120), (4, 950))
    assert log.truncate_end(120)
    assert log.entries == (EpochStart(0, 0),)
    assert not log.truncate_end(120)


def test_truncated_start_keeps_the_epoch_that_wrote_it() -> None:
    log = epochs((0, 0), (3, 120), (4, 950))
    assert log.truncate_start(500)
    assert log.entries == (EpochStart(3, 500), EpochStart(4, 950))
    assert not log.truncate_start(500)


def test_reader_of_this_log_is_not_told_that_it_was_truncated() -> None:
    log = epochs((1, 0), (3, 100))
    for offset, epoch in [(0, 1), (100, 1), (40, 1), (150, 3), (200, 3)]:
        assert log.divergence(offset, epoch=epoch, log_start=0, log_end=200) is None


def test_reader_of_what_was_cut_off_learns_where_to_resume() -> None:
    log = epochs((1, 0), (3, 100))
    found = log.divergence(130, epoch=1, log_start=0, log_end=200)
    assert found == EpochStart(1, 100)
    found = log.divergence(130, epoch=2, log_start=0, log_end=200)
    assert found == EpochStart(1, 100)
    found = log.divergence(250, epoch=3, log_start=0, log_end=200)
    assert found == EpochStart(3, 200)


def test_reader_of_an_epoch_older_than_the_log_resumes_at_its_start() -> None:
    log = epochs(
        (5, 80),
    )
    assert log.divergence(90, epoch=4, log_start=80, log_end=200) == EpochStart(4, 80)
    assert log.divergence(80, epoch=4, log_start=80, log_end=200) is None


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 20)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_what_was_read_from_the_log_itself_never_diverges(
    steps: list[tuple[int, int]], at: int
) -> None:
    log, epoch, offset, writers = LeaderEpochs(), 0, 0, []
    for rise, count in steps:
        epoch += rise
        log.begin(epoch, offset)
        writers += [epoch] * count
        offset += count
    read = min(at, offset - 1)
    assert log.divergence(read + 1, epoch=writers[read], log_start=0, log_end=offset) is None
