"""Which of a log's oldest segments nobody needs any more.

Segments go from the oldest on, whole, and never above the high watermark: what is not committed
yet may still be what a new leader lacks. Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ottla_broker.core.log_config import LogConfig


class RetentionReason(StrEnum):
    """Why a segment was given up."""

    LOG_START = "log_start"
    TIME = "time"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What the decision needs to know of a segment; `next_offset` lies behind its last record."""

    base_offset: int
    next_offset: int
    size: int
    max_timestamp_ms: int

    @property
    def is_empty(self) -> bool:
        """Whether it holds no batch yet."""
        return self.size == 0


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """Give up this many segments from the oldest on, each for its reason."""

    reasons: tuple[RetentionReason, ...]
    log_start: int
    rolls_active: bool

    @property
    def segment_count(self) -> int:
        """How many segments go."""
        return len(self.reasons)


def plan_retention(
    segments: Sequence[SegmentFacts],
    config: LogConfig,
    *,
    log_start: int,
    high_watermark: int,
    now_ms: int,
) -> RetentionPlan:
    """What retention takes now. `segments` are in order, the last is the one being written.

    The last one goes only by age, and after the log has rolled: the plan says so. By size a log
    keeps at least `retention.bytes`: a segment goes when the rest alone holds as much.
    """
    assert segments
    excess = sum(segment.size for segment in segments) - config.retention_bytes
    limits_size = config.retention_bytes >= 0
    reasons: list[RetentionReason] = []
    for segment in segments:
        is_active = segment is segments[-1]
        if segment.is_empty or segment.next_offset > high_watermark:
            break
        if segment.next_offset <= log_start and not is_active:
            reason = RetentionReason.LOG_START
        elif 0 <= config.retention_ms < now_ms - segment.max_timestamp_ms:
            reason = RetentionReason.TIME
        elif limits_size and excess >= segment.size and not is_active:
            reason = RetentionReason.SIZE
        else:
            break
        reasons.append(reason)
        excess -= segment.size
    gone = len(reasons)
    return RetentionPlan(
        reasons=tuple(reasons),
        log_start=max(log_start, segments[gone - 1].next_offset) if gone else log_start,
        rolls_active=gone == len(segments),
    )
