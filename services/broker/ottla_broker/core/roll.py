"""When a segment is closed and the next one begun."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.sparse_index import OFFSET_ENTRY_SIZE, RELATIVE_OFFSET_MAX


class RollReason(StrEnum):
    """Why a segment was closed."""

    SIZE = "size"
    TIME = "time"
    INDEX_FULL = "index_full"
    OFFSET_RANGE = "offset_range"
    RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class SegmentShape:
    """What the decision needs to know of the segment that is being written."""

    base_offset: int
    size: int
    index_size: int
    created_ms: int


def roll_reason(
    segment: SegmentShape,
    config: LogConfig,
    *,
    append_size: int,
    last_offset: int,
    now_ms: int,
) -> RollReason | None:
    """Why an append of `append_size` bytes up to `last_offset` belongs in a new segment; or None.

    An empty segment takes anything that `check_extent` lets pass: a batch larger than
    `segment.bytes` gets one of its own.
    """
    if segment.size == 0:
        return None
    if segment.size + append_size > config.segment_bytes:
        return RollReason.SIZE
    if last_offset - segment.base_offset > RELATIVE_OFFSET_MAX:
        return RollReason.OFFSET_RANGE
    if segment.index_size + OFFSET_ENTRY_SIZE > config.segment_index_bytes:
        return RollReason.INDEX_FULL
    if now_ms - segment.created_ms >= config.segment_ms:
        return RollReason.TIME
    return None
