"""What damage means, above and below the recovery point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.recovery import (
    BatchOrder,
    Corrupt,
    CutTail,
    Defect,
    SegmentScan,
    Sound,
    judge,
)


def whole(base: int, end: int, size: int = 100) -> SegmentScan:
    return SegmentScan(base, size, size, end)


def damaged(base: int, end: int, *, size: int = 100, valid: int = 60) -> SegmentScan:
    return SegmentScan(base, size, valid, end, Defect(valid, "wrong checksum"))


def test_whole_segments_make_a_sound_log() -> None:
    assert judge([whole(0, 10), whole(10, 25)], recovery_point=25) == Sound(25)


def test_damage_above_the_recovery_point_is_a_torn_tail() -> None:
    verdict = judge([whole(0, 10), damaged(10, 14), whole(20, 30)], recovery_point=14)
    assert verdict == CutTail(
        log_end=14,
        base_offset=10,
        size=60,
        lost_size=140,
        lost_segment_count=1,
        message="wrong checksum",
    )


def test_damage_below_the_recovery_point_is_corruption() -> None:
    verdict = judge([whole(0, 10), damaged(10, 14)], recovery_point=15)
    assert verdict == Corrupt(10, 60, "wrong checksum")


def test_log_that_ends_below_the_recovery_point_is_corrupt() -> None:
    verdict = judge([whole(0, 10)], recovery_point=11)
    assert verdict == Corrupt(0, 100, "log ends at offset 10, but 11 was durable")


def test_hole_between_segments_is_damage_at_the_end_of_the_first() -> None:
    verdict = judge([whole(0, 10), whole(12, 20)], recovery_point=11)
    assert isinstance(verdict, Corrupt)
    assert verdict.position == 100
    verdict = judge([whole(0, 10), whole(12, 20)], recovery_point=10)
    assert isinstance(verdict, CutTail)
    assert (verdict.log_end, verdict.size, verdict.lost_size) == (10, 100, 100)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_nothing_below_the_recovery_point_is_ever_cut(
    counts: list[int], data: st.DataObject
) -> None:
    scans, offset = [], 0
    bad = data.draw(st.integers(0, len(counts)))
    for number, count in enumerate(counts):
        kept = data.draw(st.integers(0, count)) if number == bad else count
        make = damaged if number == bad else whole
        scans.append(make(offset, offset + kept))
        offset += count
    point = data.draw(st.integers(0, offset))
    match judge(scans, recovery_point=point):
        case Sound(log_end) | CutTail(log_end=log_end):
            assert log_end >= point
        case Corrupt():
            assert bad < len(counts)


def test_batches_follow_each_other_without_a_gap() -> None:
    order = BatchOrder(5, leader_epoch=2)
    assert order.problem(base_offset=5, last_offset=7, leader_epoch=2) is None
    assert order.problem(base_offset=8, last_offset=8, leader_epoch=4) is None
    assert (order.next_offset, order.leader_epoch) == (9, 4)
    assert order.problem(base_offset=10, last_offset=11, leader_epoch=4) == (
        "batch begins at offset 10 instead of 9"
    )
    assert order.problem(base_offset=9, last_offset=8, leader_epoch=4) == (
        "batch ends at offset 8 before it begins"
    )
    assert order.problem(base_offset=9, last_offset=9, leader_epoch=3) == "leader epoch 3 follows 4"
    assert order.next_offset == 9
