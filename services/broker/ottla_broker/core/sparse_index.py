"""Where in a segment an offset or a time is to be found: the arithmetic of both sparse indexes.

    offset index   (relative offset of a batch, its position)       one a few KiB of log
    time index     (largest time so far, relative offset)           where that time has grown

An entry of the time index says: every batch before this one is at most this old. Both point at
the beginning of a batch, from which the caller walks on. Columns are any sequences of integers,
arrays while a segment grows and views of a mapped file once it is sealed; knows no files itself.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

OFFSET_ENTRY_SIZE = 8
TIME_ENTRY_SIZE = 12
TAIL_COUNT_MAX = 256
RELATIVE_OFFSET_MAX = 2**31 - 1
POSITION_MAX = 2**31 - 1
NO_TIMESTAMP = -(2**63)

Column = Sequence[int]


class OffsetIndex:
    """Relative offsets and positions of some batches, both growing.

    While a segment grows, the batches behind the last entry are known one by one, in memory alone:
    whoever reads as fast as others write looks them up, and walks over none.
    """

    __slots__ = ("_tail", "offsets", "positions")

    def __init__(self, offsets: Column, positions: Column) -> None:
        assert len(offsets) == len(positions)
        self.offsets = offsets
        self.positions = positions
        # Replaced as a whole, and grown position first: other threads look things up as well.
        self._tail: tuple[array[int], array[int]] = array("I"), array("I")

    @classmethod
    def growing(cls) -> OffsetIndex:
        """An empty index that `append` works on."""
        return cls(array("I"), array("I"))

    def append(self, relative_offset: int, position: int) -> None:
        """Add the batch that begins at `position`."""
        offsets, positions = self.offsets, self.positions
        assert isinstance(offsets, array)
        assert isinstance(positions, array)
        assert not offsets or (relative_offset > offsets[-1] and position > positions[-1])
        offsets.append(relative_offset)
        positions.append(position)
        self._tail = array("I"), array("I")

    def remember(self, relative_offset: int, position: int) -> None:
        """Know a batch behind the last entry, until the next one."""
        offsets, positions = self._tail
        if len(offsets) >= TAIL_COUNT_MAX:
            offsets, positions = self._tail = array("I"), array("I")
        positions.append(position)
        offsets.append(relative_offset)

    @property
    def size(self) -> int:
        """Bytes the entries take."""
        return len(self.offsets) * OFFSET_ENTRY_SIZE

    def position_before(self, relative_offset: int) -> int:
        """Position of the last known batch that begins at or before an offset; 0 if none does."""
        offsets, positions = self._tail
        if slot := bisect_right(offsets, relative_offset):
            return positions[slot - 1]
        slot = bisect_right(self.offsets, relative_offset)
        return self.positions[slot - 1] if slot else 0

    def position_at_most(self, position: int) -> int:
        """Position of the last indexed batch at or before `position`; 0 if none is."""
        slot = bisect_right(self.positions, position)
        return self.positions[slot - 1] if slot else 0

    def position_preceding(self, relative_offset: int) -> int:
        """Position of the last indexed batch that begins before an offset; 0 if none does."""
        slot = bisect_left(self.offsets, relative_offset)
        return self.positions[slot - 1] if slot else 0


class TimeIndex:
    """Times that grow, each with the relative offset by which it had been reached."""

    __slots__ = ("offsets", "timestamps")

    def __init__(self, timestamps: Column, offsets: Column) -> None:
        assert len(offsets) == len(timestamps)
        self.timestamps = timestamps
        self.offsets = offsets

    @classmethod
    def growing(cls) -> TimeIndex:
        """An empty index that `append` works on."""
        return cls(array("q"), array("I"))

    def append(self, timestamp_ms: int, relative_offset: int) -> None:
        """Every batch before `relative_offset` is at most `timestamp_ms` old; no news: no entry."""
        timestamps, offsets = self.timestamps, self.offsets
        assert isinstance(timestamps, array)
        assert isinstance(offsets, array)
        if timestamps and timestamp_ms <= timestamps[-1]:
            return
        timestamps.append(timestamp_ms)
        offsets.append(relative_offset)

    @property
    def size(self) -> int:
        """Bytes the entries take."""
        return len(self.offsets) * TIME_ENTRY_SIZE

    def offset_reached(self, timestamp_ms: int) -> int | None:
        """Relative offset before which a batch of this time or later lies; None: after them all.

        The batch lies between the offset index's entry before that offset and the offset itself,
        because the entry would have been made earlier had the time been reached earlier.
        """
        slot = bisect_left(self.timestamps, timestamp_ms)
        return self.offsets[slot] if slot < len(self.offsets) else None


class IndexBuilder:
    """Both indexes of a segment that grows, with what must be known of it as a whole."""

    __slots__ = ("_size_since_entry", "base_offset", "interval_bytes", "max_timestamp_ms",
                 "offset_index", "time_index")  # fmt: skip

    def __init__(self, base_offset: int, *, interval_bytes: int) -> None:
        self.base_offset = base_offset
        self.interval_bytes = interval_bytes
        self.offset_index = OffsetIndex.growing()
        self.time_index = TimeIndex.growing()
        self.max_timestamp_ms = NO_TIMESTAMP
        self._size_since_entry = 0

    @classmethod
    def resume(
        cls,
        base_offset: int,
        *,
        interval_bytes: int,
        offset_index: OffsetIndex,
        time_index: TimeIndex,
        max_timestamp_ms: int,
        log_size: int,
    ) -> IndexBuilder:
        """Go on with the indexes of a segment that was put aside."""
        builder = cls(base_offset, interval_bytes=interval_bytes)
        builder.offset_index = OffsetIndex(
            array("I", offset_index.offsets), array("I", offset_index.positions)
        )
        builder.time_index = TimeIndex(
            array("q", time_index.timestamps), array("I", time_index.offsets)
        )
        builder.max_timestamp_ms = max_timestamp_ms
        positions = builder.offset_index.positions
        builder._size_since_entry = log_size - (positions[-1] if positions else 0)
        return builder

    def add(self, *, base_offset: int, position: int, size: int, max_timestamp_ms: int) -> None:
        """Take note of a batch; most leave no entry."""
        if self._size_since_entry > self.interval_bytes:
            relative_offset = base_offset - self.base_offset
            self.offset_index.append(relative_offset, position)
            self.time_index.append(self.max_timestamp_ms, relative_offset)
            self._size_since_entry = 0
        else:
            self.offset_index.remember(base_offset - self.base_offset, position)
        self._size_since_entry += size
        self.max_timestamp_ms = max(self.max_timestamp_ms, max_timestamp_ms)
