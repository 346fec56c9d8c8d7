"""When a segment is closed, and which are given up."""

from __future__ import annotations

import pytest

from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.retention import RetentionPlan, RetentionReason, SegmentFacts, plan_retention
from ottla_broker.core.roll import RollReason, SegmentShape, roll_reason

DAY_MS = 86_400_000
NOW_MS = 100 * DAY_MS


def decide(
    *,
    size: int = 5_000,
    index_size: int = 0,
    age_ms: int = 0,
    append_size: int = 100,
    last_offset: int = 50,
    config: LogConfig | None = None,
) -> RollReason | None:
    shape = SegmentShape(0, size, index_size, NOW_MS - age_ms)
    return roll_reason(
        shape,
        config or LogConfig(segment_bytes=10_000, segment_ms=1_000, segment_index_bytes=80),
        append_size=append_size,
        last_offset=last_offset,
        now_ms=NOW_MS,
    )


def test_segment_with_room_and_youth_goes_on() -> None:
    assert decide(append_size=5_000, index_size=72, age_ms=999, last_offset=2**31 - 1) is None


def test_append_that_does_not_fit_goes_to_a_new_segment() -> None:
    assert decide(append_size=5_001) is RollReason.SIZE


def test_old_segment_is_closed() -> None:
    assert decide(age_ms=1_000) is RollReason.TIME


def test_full_index_closes_its_segment() -> None:
    assert decide(index_size=80) is RollReason.INDEX_FULL


def test_offset_too_far_from_the_base_closes_the_segment() -> None:
    assert decide(last_offset=2**31) is RollReason.OFFSET_RANGE


def test_empty_segment_takes_anything() -> None:
    assert decide(size=0, append_size=1 << 30, age_ms=DAY_MS) is None


def segments(*ages_days: float, size: int = 100) -> list[SegmentFacts]:
    """Ten offsets each, the last of this age; an age of None would be an empty segment."""
    return [
        SegmentFacts(n * 10, n * 10 + 10, size, NOW_MS - int(age * DAY_MS))
        for n, age in enumerate(ages_days)
    ]


def plan(
    facts: list[SegmentFacts], config: LogConfig, *, log_start: int = 0, high_watermark: int = 999
) -> RetentionPlan:
    return plan_retention(
        facts, config, log_start=log_start, high_watermark=high_watermark, now_ms=NOW_MS
    )


def test_segments_older_than_retention_go_from_the_oldest_on() -> None:
    found = plan(segments(9, 8, 3, 8, 0), LogConfig(retention_ms=7 * DAY_MS))
    assert found == RetentionPlan((RetentionReason.TIME,) * 2, log_start=20, rolls_active=False)


def test_segment_of_exactly_the_retention_time_stays() -> None:
    assert plan(segments(7, 0), LogConfig(retention_ms=7 * DAY_MS)).segment_count == 0


def test_log_keeps_at_least_the_retention_size() -> None:
    found = plan(segments(0, 0, 0, 0, 0), LogConfig(retention_bytes=250))
    assert found.reasons == (RetentionReason.SIZE,) * 2
    assert plan(segments(0, 0, 0), LogConfig(retention_bytes=300)).segment_count == 0


def test_active_segment_never_goes_by_size() -> None:
    found = plan(segments(0, 0), LogConfig(retention_bytes=0))
    assert found.reasons == (RetentionReason.SIZE,)


def test_active_segment_goes_by_age_after_a_roll() -> None:
    found = plan(segments(9, 8), LogConfig(retention_ms=7 * DAY_MS))
    assert found == RetentionPlan((RetentionReason.TIME,) * 2, log_start=20, rolls_active=True)


def test_nothing_above_the_high_watermark_goes() -> None:
    config = LogConfig(retention_ms=0, retention_bytes=0)
    assert plan(segments(9, 9, 9), config, high_watermark=19).segment_count == 1
    assert plan(segments(9, 9, 9), config, high_watermark=20).segment_count == 2


def test_segments_below_the_log_start_go_whatever_their_age() -> None:
    found = plan(segments(0, 0, 0), LogConfig(), log_start=25)
    assert found == RetentionPlan((RetentionReason.LOG_START,) * 2, 25, rolls_active=False)


@pytest.mark.parametrize("days", [0, 400])
def test_unlimited_retention_keeps_everything(days: int) -> None:
    config = LogConfig(retention_ms=-1, retention_bytes=-1)
    assert plan(segments(days, days), config).segment_count == 0


def test_empty_active_segment_is_left_alone() -> None:
    facts = [*segments(9), SegmentFacts(10, 10, 0, -(2**63))]
    found = plan(facts, LogConfig(retention_ms=DAY_MS))
    assert found == RetentionPlan((RetentionReason.TIME,), 10, rolls_active=False)
