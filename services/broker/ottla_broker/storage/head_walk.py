"""Walks over the batches of a segment file by their heads, a small window at a time.

Payloads are stepped over: a walk costs a read of a few KiB for every window of small batches, and
one for each large batch. What the read function raises goes through, so that a walk over memory
can stop where the disk would be waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ottla.protocol.batch import BATCH_HEAD_SIZE_MAX, BatchHead, read_head, verify_head
from ottla.protocol.errors import CorruptBatch
from ottla_broker.core.recovery import Defect

Read = Callable[[int, int], bytes]
"""`read(size, position)`: that many bytes of the file, fewer only at its end."""

WINDOW_SIZE = 4096


class DamagedSegmentError(Exception):
    """A walk met bytes that are no batch."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(f"at position {defect.position}: {defect.message}")
        self.defect = defect


def walk_heads(
    read: Read,
    start: int,
    end: int,
    *,
    verify: bool = False,
    window_size: int = WINDOW_SIZE,
) -> Iterator[tuple[int, BatchHead]]:
    """Position and head of every batch from `start`, which is where one begins, to `end`.

    Args:
        read: reads the file.
        start: position of a batch.
        end: where the last batch ends.
        verify: check the header checksums too.
        window_size: bytes to read at a time.

    Raises:
        DamagedSegmentError: a head is not canonical, fails its checksum, or crosses `end`.
    """
    parse = verify_head if verify else read_head
    window, window_start = b"", start
    position = start
    while position < end:
        at = position - window_start
        if at < 0 or at + BATCH_HEAD_SIZE_MAX > len(window):
            window_start, at = position, 0
            window = read(min(window_size, end - position), position)
        try:
            head = parse(window, at)
        except CorruptBatch as error:
            raise DamagedSegmentError(Defect(position, error.message)) from None
        if position + head.frame_size > end:
            message = f"batch of {head.frame_size} bytes reaches behind the end at {end}"
            raise DamagedSegmentError(Defect(position, message))
        yield position, head
        position += head.frame_size
