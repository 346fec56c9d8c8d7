"""A run of whole batches in a segment file: what a read returns."""

from __future__ import annotations

from dataclasses import dataclass

from ottla_broker.storage.segment_file import SegmentFile


@dataclass(frozen=True, slots=True)
class LogSlice:
    """`size` bytes from `position` on: whole batches from `first_offset` to before `next_offset`.

    Holds one reference to `file` for whoever got it from a read: either hand it on (a transport's
    file range takes it over and releases it when sent) or call `release`. The first batch may
    begin before the offset that was asked for.
    """

    file: SegmentFile
    position: int
    size: int
    first_offset: int
    next_offset: int

    def release(self) -> None:
        """Give the reference up."""
        self.file.release()
