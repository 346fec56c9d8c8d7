"""ReadResponse messages, encoded: small fields first, then batches as they lie on disk.

Owns: the encoding around a file range, and the cut of a slice where a Read ends. Pure. Does not own
the decoding into plain records (`records_decoding`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.batch import read_head
from ottla_broker.rpc.read_plan import ReadCursor

RESPONSE_SIZE_MAX = 1 << 20
DECOMPRESSED_SIZE_MAX = 16 << 20
"""Most bytes that one batch may become for a reader of plain records."""


@dataclass(frozen=True, slots=True)
class Positions:
    """What every response says of the partition."""

    high_watermark: int
    log_start_offset: int
    leader_epoch: int


def positions_message(positions: Positions, *, next_offset: int) -> fetch_pb2.ReadResponse:
    """A response without data; without transactions, everything committed is stable."""
    return fetch_pb2.ReadResponse(
        high_watermark=positions.high_watermark,
        next_offset=next_offset,
        log_start_offset=positions.log_start_offset,
        last_stable_offset=positions.high_watermark,
        leader_epoch=positions.leader_epoch,
    )


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a slice a Read still wants."""

    size: int
    next_offset: int
    record_count: int


def cut_batches(data: bytes, cursor: ReadCursor) -> Cut:
    """The batches of a slice up to the one in which the Read ends."""
    position, record_count, next_offset = 0, 0, cursor.next_offset
    while position < len(data):
        head = read_head(data, position)
        header = head.header
        if cursor.stop_offset is not None and header.base_offset >= cursor.stop_offset:
            next_offset = max(next_offset, cursor.stop_offset)
            break
        position += head.frame_size
        next_offset = header.next_offset
        # Records before the start come along with their batch; they are not what was asked for.
        record_count += min(header.record_count, next_offset - cursor.next_offset)
        if cursor.records_left is not None and record_count >= cursor.records_left:
            break
    return Cut(position, next_offset, record_count)
