"""The frames of HTTP/2 as bytes: constants, the nine-byte header, and one builder per frame sent.

Parsing lives in `connection`, because the order of checks is part of the protocol; what a frame
looks like lives here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ottla_broker.transport.http2.errors import ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

FLAG_ACK = 0x1
FLAG_END_STREAM = 0x1
FLAG_END_HEADERS = 0x4
FLAG_PADDED = 0x8
FLAG_PRIORITY = 0x20

HEADER_SIZE = 9
STREAM_ID_MAX = 2**31 - 1
FRAME_SIZE_MIN = 16_384
FRAME_SIZE_LIMIT = 2**24 - 1

# Length in two pieces (8 + 16 bits), type, flags, stream identifier.
FRAME_HEADER = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_UINT32 = struct.Struct(">I")
_GOAWAY_FIELDS = struct.Struct(">II")


def frame_header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `size` bytes."""
    return FRAME_HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id)


def settings_frame(values: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join(_SETTING.pack(identifier, value) for identifier, value in values)
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = frame_header(0, SETTINGS, FLAG_ACK, 0)


def ping_frame(opaque: bytes, *, ack: bool) -> bytes:
    return frame_header(8, PING, FLAG_ACK if ack else 0, 0) + opaque


def goaway_frame(last_stream_id: int, code: ErrorCode, *, debug: bytes = b"") -> bytes:
    fields = _GOAWAY_FIELDS.pack(last_stream_id, code)
    return frame_header(8 + len(debug), GOAWAY, 0, 0) + fields + debug


def reset_frame(stream_id: int, code: int) -> bytes:
    return frame_header(4, RST_STREAM, 0, stream_id) + _UINT32.pack(code)


def window_update_frame(stream_id: int, increment: int) -> bytes:
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + _UINT32.pack(increment)


def header_frames(stream_id: int, block: bytes, *, end_stream: bool, frame_size_max: int) -> bytes:
    """HEADERS and as many CONTINUATION frames as the peer's frame size asks for, in one piece."""
    flags = FLAG_END_STREAM if end_stream else 0
    if len(block) <= frame_size_max:
        return frame_header(len(block), HEADERS, flags | FLAG_END_HEADERS, stream_id) + block
    pieces = [frame_header(frame_size_max, HEADERS, flags, stream_id), block[:frame_size_max]]
    for start in range(frame_size_max, len(block), frame_size_max):
        piece = block[start : start + frame_size_max]
        last = start + frame_size_max >= len(block)
        pieces.append(
            frame_header(len(piece), CONTINUATION, FLAG_END_HEADERS if last else 0, stream_id)
        )
        pieces.append(piece)
    return b"".join(pieces)
