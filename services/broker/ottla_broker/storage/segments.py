"""The segments of one log, in the order of their offsets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from ottla_broker.storage.segment import Segment

_BASE_OFFSET = attrgetter("base_offset")


class Segments:
    """At least one segment; the last is appended to."""

    __slots__ = ("_segments",)

    def __init__(self, segments: list[Segment]) -> None:
        assert segments
        self._segments = segments

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def __contains__(self, segment: Segment) -> bool:
        return any(one is segment for one in self._segments)

    @property
    def first(self) -> Segment:
        return self._segments[0]

    @property
    def active(self) -> Segment:
        """The one that is appended to."""
        return self._segments[-1]

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    def holding(self, offset: int) -> Segment:
        """The segment that holds an offset which the log holds."""
        slot = bisect_right(self._segments, offset, key=_BASE_OFFSET)
        assert slot > 0, offset
        return self._segments[slot - 1]

    def append(self, segment: Segment) -> None:
        """Go on in a new segment."""
        assert segment.base_offset >= self.active.next_offset
        self._segments.append(segment)

    def drop_oldest(self, count: int) -> list[Segment]:
        """Take the oldest out of the log; one stays."""
        assert count < len(self._segments)
        gone, self._segments = self._segments[:count], self._segments[count:]
        return gone

    def replace_from(self, base_offset: int, segment: Segment) -> list[Segment]:
        """Put a segment in the place of that of `base_offset` and all later ones; returns those."""
        slot = bisect_right(self._segments, base_offset - 1, key=_BASE_OFFSET)
        gone, self._segments = self._segments[slot:], [*self._segments[:slot], segment]
        return gone
