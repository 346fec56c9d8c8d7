"""Which bytes answer a read, against a search through all batches."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from kit.batches import make_batch
from ottla.protocol.batch import BatchHead, read_head, stamp
from ottla_broker.core.extent import Extent, SegmentSpan, find_extent
from ottla_broker.core.sparse_index import IndexBuilder

BASE = 40


class Segment:
    """A segment in memory, its index, and how many heads a read has looked at."""

    def __init__(self, shapes: list[tuple[int, int]], interval_bytes: int) -> None:
        self.data = bytearray()
        self.heads: list[tuple[int, BatchHead]] = []
        self.looked_at = 0
        builder = IndexBuilder(BASE, interval_bytes=interval_bytes)
        offset = BASE
        for count, size in shapes:
            frame = bytearray(make_batch(*[b"v" * size] * count).frame)
            stamp(frame, base_offset=offset, leader_epoch=1, append_time_ms=0)
            head, position = read_head(frame), len(self.data)
            self.heads.append((position, head))
            builder.add(base_offset=offset, position=position, size=len(frame), max_timestamp_ms=0)
            self.data += frame
            offset += count
        self.index = builder.offset_index
        self.span = SegmentSpan(BASE, offset, len(self.data))

    def walk(self, start: int, end: int) -> Iterator[tuple[int, BatchHead]]:
        position = start
        while position < end:
            head = read_head(self.data, position)
            self.looked_at += 1
            yield position, head
            position += head.frame_size

    def expected(self, offset: int, max_bytes: int, limit: int) -> Extent | None:
        """The same by looking at every batch."""
        taken: list[tuple[int, BatchHead]] = []
        for position, head in self.heads:
            if head.header.next_offset <= offset:
                continue
            size = position + head.frame_size - (taken[0][0] if taken else position)
            if head.header.next_offset > limit or (taken and size > max_bytes):
                break
            taken.append((position, head))
        if not taken:
            return None
        (first_at, first), (last_at, last) = taken[0], taken[-1]
        size = last_at + last.frame_size - first_at
        return Extent(first_at, size, first.header.base_offset, last.header.next_offset)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 300)), min_size=1, max_size=25),
    st.integers(0, 2_000),
    st.integers(0, 8_000),
    st.data(),
)
def test_extent_is_what_a_search_of_all_batches_finds(
    shapes: list[tuple[int, int]], interval_bytes: int, max_bytes: int, data: st.DataObject
) -> None:
    segment = Segment(shapes, interval_bytes)
    offset = data.draw(st.integers(BASE, segment.span.next_offset - 1))
    limit = data.draw(st.integers(offset, segment.span.next_offset + 5))
    found = find_extent(
        segment.span, segment.index, segment.walk, offset=offset, max_bytes=max_bytes, limit=limit
    )
    assert found == segment.expected(offset, max_bytes, limit)


def test_large_read_looks_at_few_heads() -> None:
    segment = Segment([(1, 100)] * 2_000, 4_096)
    found = find_extent(
        segment.span,
        segment.index,
        segment.walk,
        offset=BASE + 700,
        max_bytes=150_000,
        limit=BASE + 1_999,
    )
    assert found is not None
    assert found.size <= 150_000
    assert found.next_offset - found.first_offset > 700
    assert segment.looked_at < 60
