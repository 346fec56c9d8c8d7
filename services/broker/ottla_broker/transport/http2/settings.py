"""SETTINGS: which values are legal, what the peer has announced, what we announce."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.frames import FRAME_SIZE_LIMIT, FRAME_SIZE_MIN
from ottla_broker.transport.http2.http2_limits import Http2Limits
from ottla_broker.transport.http2.windows import WINDOW_MAX

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

_ENTRY = struct.Struct(">HI")


@dataclass(slots=True)
class PeerSettings:
    """What the client has asked for; RFC defaults until it does."""

    initial_window_size: int = 65_535
    frame_size_max: int = FRAME_SIZE_MIN


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Identifier and value of each entry, in order, each checked.

    Raises:
        ConnectionFault: a size that is no multiple of six, or a value out of its range.
    """
    if len(payload) % _ENTRY.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a size not divisible by 6")
    entries = list(_ENTRY.iter_unpack(payload))
    for identifier, value in entries:
        _check(identifier, value)
    return entries


def _check(identifier: int, value: int) -> None:
    if identifier == ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
    if identifier == INITIAL_WINDOW_SIZE and value > WINDOW_MAX:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE of {value}")
    if identifier == MAX_FRAME_SIZE and not FRAME_SIZE_MIN <= value <= FRAME_SIZE_LIMIT:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE of {value}")


def announced(limits: Http2Limits) -> list[tuple[int, int]]:
    """Our side's SETTINGS."""
    return [
        (HEADER_TABLE_SIZE, limits.header_table_size),
        (MAX_CONCURRENT_STREAMS, limits.concurrent_streams_max),
        (INITIAL_WINDOW_SIZE, limits.stream_window),
        (MAX_FRAME_SIZE, limits.frame_size_max),
        (MAX_HEADER_LIST_SIZE, limits.header_list_size_max),
    ]
