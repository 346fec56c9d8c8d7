"""Offsets for places in a partition: named, by time, or counted from the end.

Owns how a place becomes an offset of a replica that is led here, for Read and ListOffsets alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import FieldError, InvalidRequest
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.read_plan import (
    AtOffset,
    AtPosition,
    AtTime,
    BeforeEnd,
    Place,
    check_position,
)

_OFFSET_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FoundOffset:
    """An offset, and time and leader epoch of the record there where they are known."""

    offset: int
    timestamp_ms: int = 0
    leader_epoch: int | None = None


def place_of(query: fetch_pb2.OffsetQuery) -> Place:
    """The place a query asks for. Raises InvalidRequest, UnsupportedVersion."""
    match query.WhichOneof("query"):
        case "timestamp_ms":
            return AtTime(query.timestamp_ms)
        case "last_count":
            return BeforeEnd(query.last_count)
        case "position":
            return check_position(query.position)
        case None:
            raise InvalidRequest(
                "an offset query asks for a position, a time or a count before the end",
                field_errors=[FieldError("query", "position, timestamp_ms or last_count")],
            )


async def find_offset(replica: Replica, place: Place) -> FoundOffset | None:
    """The offset of a place; None if there is no record of that time or later.

    Raises:
        NotLeader, StorageOffline, CorruptLog, UnknownTopicOrPartition: not to be had here.
    """
    match place:
        case AtOffset(offset):
            return FoundOffset(offset)
        case BeforeEnd(count):
            return FoundOffset(_before_end(replica, min(count, _OFFSET_MAX)))
        case AtPosition(fetch_pb2.OFFSET_POSITION_EARLIEST):
            return FoundOffset(replica.earliest_offset())
        case AtPosition(fetch_pb2.OFFSET_POSITION_LATEST):
            return FoundOffset(replica.latest_offset(), leader_epoch=replica.leader_epoch)
        case AtPosition():
            found = await replica.offset_of_max_timestamp()
        case AtTime(timestamp_ms):
            found = await replica.offset_for_time(timestamp_ms)
    if found is None:
        return None
    return FoundOffset(found.offset, found.timestamp_ms, found.leader_epoch)


async def find_start(replica: Replica, place: Place) -> int:
    """Where a Read of a place begins; the end, if there is no record of that time or later."""
    found = await find_offset(replica, place)
    return replica.latest_offset() if found is None else found.offset


def _before_end(replica: Replica, count: int) -> int:
    """The offset `count` before the latest, or the earliest if there are fewer."""
    return max(replica.latest_offset() - count, replica.earliest_offset())
