"""Reads whole segments: to verify what a crash left, and to make indexes anew. Blocking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ottla.protocol.batch import BatchHead, read_batch, verify_crc
from ottla.protocol.errors import CorruptBatch
from ottla_broker.core.recovery import BatchOrder, Defect, SegmentScan
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.filesystem import Filesystem
from ottla_broker.storage.head_walk import DamagedSegmentError, walk_heads

_SCAN_WINDOW_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class ScannedSegment:
    """What was found in a segment, with indexes of its whole batches."""

    scan: SegmentScan
    builder: IndexBuilder
    verified_size: int


def scan_segment(
    filesystem: Filesystem,
    fd: int,
    *,
    builder: IndexBuilder,
    order: BatchOrder,
    verify_from: int,
    start: int = 0,
    stop_at: int | None = None,
    on_batch: Callable[[BatchHead], None] | None = None,
) -> ScannedSegment:
    """Walk a segment from a batch in it to the first byte that is wrong.

    Heads are checked everywhere, with their checksums and their order; payloads from offset
    `verify_from` on.

    Args:
        filesystem: reads the file.
        fd: the open file.
        builder: indexes of what is before `start`; goes on from there.
        order: where the log stands at `start`; moved on.
        verify_from: the first offset whose payload is verified.
        start: position of the first batch to look at.
        stop_at: go no further than the batch that holds this offset.
        on_batch: told of every good batch.
    """
    size = filesystem.size(fd)
    valid_size, verified_size = start, 0
    defect: Defect | None = None
    read = partial(filesystem.pread, fd)
    try:
        heads = walk_heads(read, start, size, verify=True, window_size=_SCAN_WINDOW_SIZE)
        for position, head in heads:
            if stop_at is not None and head.header.next_offset > stop_at:
                break
            if head.header.next_offset > verify_from:
                _verify_payload(read, position, head)
                verified_size += head.frame_size
            _check_order(order, position, head)
            builder.add(
                base_offset=head.header.base_offset,
                position=position,
                size=head.frame_size,
                max_timestamp_ms=batch_time(head),
            )
            if on_batch is not None:
                on_batch(head)
            valid_size = position + head.frame_size
    except DamagedSegmentError as error:
        defect = error.defect
    scan = SegmentScan(builder.base_offset, size, valid_size, order.next_offset, defect)
    return ScannedSegment(scan, builder, verified_size)


def batch_time(head: BatchHead) -> int:
    """The largest time of a batch's records, as readers see it."""
    return head.header.append_time_ms or head.header.max_timestamp_ms


def _verify_payload(read: Callable[[int, int], bytes], position: int, head: BatchHead) -> None:
    data = read(head.frame_size, position)
    try:
        verify_crc(read_batch(data))
    except CorruptBatch as error:
        raise DamagedSegmentError(Defect(position, error.message)) from None


def _check_order(order: BatchOrder, position: int, head: BatchHead) -> None:
    header = head.header
    problem = order.problem(
        base_offset=header.base_offset,
        last_offset=header.last_offset,
        leader_epoch=header.leader_epoch,
    )
    if problem is not None:
        raise DamagedSegmentError(Defect(position, problem))
