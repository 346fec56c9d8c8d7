"""HTTP/2 error codes and the two kinds of failure: of one stream, of the whole connection.

Both are raised inside the core only. `ServerConnection` turns the first into RST_STREAM and the
second into GOAWAY, so neither ever leaves `receive_data`.
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class StreamFault(Exception):  # noqa: N818 - a fault of the peer, not of this program
    """One stream is reset with `code`; the connection goes on."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class ConnectionFault(Exception):  # noqa: N818 - a fault of the peer, not of this program
    """The connection ends with GOAWAY carrying `code` and `reason` as debug data."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason
