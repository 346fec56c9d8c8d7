"""The offsets that say how far a log has come, and the order they keep.

    log start  ≤  high watermark  ≤  log end          flushed end  ≤  log end

Owns the rules for moving each of them; knows no files. `generation` counts truncations, so that
the outcome of a flush begun before a truncation is told from one begun after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.protocol.errors import OffsetOutOfRange


@dataclass(slots=True)
class LogState:
    """Where one log begins and ends; changed by its owner only."""

    log_start: int
    high_watermark: int
    flushed_end: int
    log_end: int
    generation: int = 0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Assert the order that always holds."""
        assert 0 <= self.log_start <= self.high_watermark <= self.log_end, self
        assert self.flushed_end <= self.log_end, self

    def appended(self, next_offset: int) -> None:
        """Batches up to `next_offset` are written."""
        assert next_offset > self.log_end, (next_offset, self)
        self.log_end = next_offset

    def flushed(self, *, generation: int, next_offset: int) -> bool:
        """A flush of everything below `next_offset` succeeded; True if that moved the end.

        A result from before a truncation says nothing about the bytes that are there now and is
        dropped.
        """
        if generation != self.generation or next_offset <= self.flushed_end:
            return False
        assert next_offset <= self.log_end, (next_offset, self)
        self.flushed_end = next_offset
        return True

    def advance_high_watermark(self, offset: int) -> bool:
        """Everything below `offset` is committed; True if that is news."""
        if offset <= self.high_watermark:
            return False
        assert offset <= self.log_end, (offset, self)
        self.high_watermark = offset
        return True

    def check_log_start(self, offset: int) -> None:
        """Returns if the log may begin at `offset`. Raises OffsetOutOfRange."""
        if not 0 <= offset <= self.high_watermark:
            raise self.out_of_range(offset)

    def advance_log_start(self, offset: int) -> bool:
        """Everything below `offset` is given up; True if that is news. Never above the watermark.

        Raises:
            OffsetOutOfRange: `offset` is negative or lies above the high watermark.
        """
        self.check_log_start(offset)
        if offset <= self.log_start:
            return False
        self.log_start = offset
        return True

    def check_truncation(self, offset: int, *, below_high_watermark: bool) -> None:
        """Assert that the log may end there: only an unclean election takes back the committed."""
        assert offset >= self.log_start, (offset, self)
        assert below_high_watermark or offset >= self.high_watermark, (offset, self)

    def truncate(self, offset: int, *, below_high_watermark: bool = False) -> bool:
        """The log ends at `offset` from here on; True if anything was above it."""
        self.check_truncation(offset, below_high_watermark=below_high_watermark)
        self.generation += 1
        if offset >= self.log_end:
            return False
        self.log_end = offset
        self.flushed_end = min(self.flushed_end, offset)
        self.high_watermark = min(self.high_watermark, offset)
        return True

    def out_of_range(self, offset: int) -> OffsetOutOfRange:
        """The error for an offset that this log does not hold."""
        return OffsetOutOfRange(
            f"offset {offset} is outside of {self.log_start} to {self.high_watermark}",
            metadata={
                "earliest_offset": str(self.log_start),
                "latest_offset": str(self.high_watermark),
            },
        )
