"""Which bytes of a segment answer a read.

    index entry        first batch returned                     last one      limit, or too large
        │ walk heads ───────►│═════════ index entry ══ walk heads ═════►│ ─────────────│

Both ends are found by the sparse index and a walk over the heads from the entry before them, so
that a read looks at about two index intervals of the file, however much it returns. The walk is
given, so that this module reads no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ottla.protocol.batch import BatchHead
from ottla_broker.core.sparse_index import OffsetIndex

Walk = Callable[[int, int], Iterator[tuple[int, BatchHead]]]
"""`walk(start, end)`: position and head of every batch from `start` to `end`."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Whole batches: `size` bytes from `position`; `next_offset` lies behind the last record."""

    position: int
    size: int
    first_offset: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """A segment as it was when the read began; it may have grown since."""

    base_offset: int
    next_offset: int
    size: int


def find_extent(
    span: SegmentSpan,
    index: OffsetIndex,
    walk: Walk,
    *,
    offset: int,
    max_bytes: int,
    limit: int,
) -> Extent | None:
    """The batches from the one that holds `offset` on, that end at or below the offset `limit`.

    At least one, however large; None if that one reaches above the limit.
    """
    assert span.base_offset <= offset < span.next_offset, (span, offset)
    found = _first_batch(span, index, walk, offset)
    if found is None or found[1].header.next_offset > limit:
        return None
    position, head = found
    first_offset = head.header.base_offset
    if limit >= span.next_offset and span.size - position <= max_bytes:
        return Extent(position, span.size - position, first_offset, span.next_offset)
    end, next_offset = position + head.frame_size, head.header.next_offset
    end_max = min(position + max_bytes, span.size)
    entry = min(
        index.position_at_most(end_max),
        index.position_preceding(limit - span.base_offset),
    )
    start = max(entry, end)
    for at, one in walk(start, span.size) if start <= end_max else ():
        if at == start:
            end, next_offset = start, one.header.base_offset
        if at + one.frame_size > end_max or one.header.next_offset > limit:
            break
        end, next_offset = at + one.frame_size, one.header.next_offset
    return Extent(position, end - position, first_offset, next_offset)


def _first_batch(
    span: SegmentSpan, index: OffsetIndex, walk: Walk, offset: int
) -> tuple[int, BatchHead] | None:
    start = index.position_before(offset - span.base_offset)
    for position, head in walk(start, span.size):
        if head.header.next_offset > offset:
            return position, head
    return None
