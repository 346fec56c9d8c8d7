"""What a Read request asks for, and how far it has come.

Owns: where a Read begins and ends, checked; the cursor that counts offsets, records and bytes down
to the end. Pure. Does not own bytes (`read_responses`) nor waiting (`reader`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import FieldError, InvalidRequest, UnsupportedVersion


@dataclass(frozen=True, slots=True)
class AtOffset:
    """This very offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first record of this time or later."""

    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class AtPosition:
    """A named place."""

    position: fetch_pb2.OffsetPosition.ValueType


@dataclass(frozen=True, slots=True)
class BeforeEnd:
    """So many offsets before the end, or all there are."""

    count: int


Place = AtOffset | AtTime | AtPosition | BeforeEnd


@dataclass(frozen=True, slots=True)
class ReadTerms:
    """A checked Read request; ends that are None don't end it."""

    start: Place
    follows: bool
    until_offset: int | None
    records_max: int | None
    bytes_max: int | None
    as_batches: bool


def check_read(request: fetch_pb2.ReadRequest) -> ReadTerms:
    """The terms of a request.

    Raises:
        InvalidRequest: an offset is negative, or a place is none that a Read can begin at.
        UnsupportedVersion: a format, isolation or position of a later version.
    """
    check_isolation(request.isolation)
    until = request.until.WhichOneof("until")
    until_offset = None
    if until == "offset":
        until_offset = _offset(request.until.offset, "until.offset")
    return ReadTerms(
        start=_start(request.start),
        follows=until in {None, "follow", "offset"},
        until_offset=until_offset,
        records_max=request.max_records or None,
        bytes_max=request.max_bytes or None,
        as_batches=_is_batches(request.format),
    )


def _start(start: fetch_pb2.ReadStart) -> Place:
    match start.WhichOneof("start"):
        case None:
            return AtPosition(fetch_pb2.OFFSET_POSITION_LATEST)
        case "offset":
            return AtOffset(_offset(start.offset, "start.offset"))
        case "timestamp_ms":
            return AtTime(start.timestamp_ms)
        case "last_count":
            return BeforeEnd(start.last_count)
        case "position":
            place = check_position(start.position)
            if place.position == fetch_pb2.OFFSET_POSITION_MAX_TIMESTAMP:
                raise InvalidRequest(
                    "a Read begins at EARLIEST or LATEST; ListOffsets answers MAX_TIMESTAMP",
                    field_errors=[FieldError("start.position", "EARLIEST or LATEST")],
                )
            return place
        case other:
            assert_never(other)


def check_position(position: int) -> AtPosition:
    """The named place. Raises InvalidRequest, UnsupportedVersion."""
    if position == fetch_pb2.OFFSET_POSITION_UNSPECIFIED:
        raise InvalidRequest("a position has to be EARLIEST, LATEST or MAX_TIMESTAMP")
    if position not in fetch_pb2.OffsetPosition.values():
        raise UnsupportedVersion(f"position {position} is not known to this server")
    return AtPosition(fetch_pb2.OffsetPosition.ValueType(position))


def check_isolation(isolation: int) -> None:
    """Returns if the isolation is known; raises UnsupportedVersion."""
    if isolation not in fetch_pb2.Isolation.values():
        raise UnsupportedVersion(f"isolation {isolation} is not known to this server")


def _is_batches(read_format: int) -> bool:
    if read_format not in fetch_pb2.ReadFormat.values():
        raise UnsupportedVersion(f"format {read_format} is not known to this server")
    return read_format == fetch_pb2.READ_FORMAT_BATCHES


def _offset(offset: int, field: str) -> int:
    if offset < 0:
        raise InvalidRequest(
            f"{field} is {offset}; offsets begin at 0",
            field_errors=[FieldError(field, "0 or more")],
        )
    return offset


@dataclass(slots=True)
class ReadCursor:
    """Where a Read stands; None stands for no such end."""

    next_offset: int
    stop_offset: int | None
    records_left: int | None
    bytes_left: int | None

    @classmethod
    def at(cls, terms: ReadTerms, *, start: int, high_watermark: int) -> ReadCursor:
        """The cursor of a Read that begins at an offset."""
        stop = terms.until_offset if terms.follows else high_watermark
        return cls(start, stop, terms.records_max, terms.bytes_max)

    @property
    def is_done(self) -> bool:
        """Whether everything asked for was sent."""
        is_stopped = self.stop_offset is not None and self.next_offset >= self.stop_offset
        return is_stopped or self.records_left == 0 or self.bytes_left == 0

    def size_limit(self, most: int) -> int:
        """How many bytes to read next, of at most so many."""
        return most if self.bytes_left is None else min(most, self.bytes_left)

    def advance(self, *, next_offset: int, record_count: int, size: int) -> None:
        """So much was sent; the whole last batch counts, even where it exceeds what was left."""
        assert next_offset >= self.next_offset, (next_offset, self)
        self.next_offset = next_offset
        if self.records_left is not None:
            self.records_left = max(0, self.records_left - record_count)
        if self.bytes_left is not None:
            self.bytes_left = max(0, self.bytes_left - size)
