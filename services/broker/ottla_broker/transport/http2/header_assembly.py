"""Header blocks in the pieces they come in: HEADERS and its CONTINUATION frames, bounded."""

from __future__ import annotations

from dataclasses import dataclass

from ottla_broker.transport.http2 import frames
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.frames import FLAG_END_HEADERS, FLAG_END_STREAM
from ottla_broker.transport.http2.http2_limits import Http2Limits


@dataclass(slots=True)
class HeaderBlockReceived:
    """A whole block, still compressed."""

    stream_id: int
    fragment: bytes
    end_stream: bool


class HeaderAssembly:
    """Owns the block that has begun and not ended, if there is one."""

    __slots__ = ("_block", "_end_stream", "_frames", "_limits", "_stream_id", "block_count")

    def __init__(self, limits: Http2Limits) -> None:
        self._limits = limits
        self._block: bytearray | None = None
        self._stream_id = 0
        self._end_stream = False
        self._frames = 0
        # Blocks in several frames so far; tells one from the next.
        self.block_count = 0

    @property
    def unfinished(self) -> bool:
        """A block has begun whose end has not come."""
        return self._block is not None

    def headers(
        self, flags: int, stream_id: int, payload: memoryview
    ) -> HeaderBlockReceived | None:
        """Take HEADERS; None when CONTINUATION must follow.

        Raises:
            ConnectionFault: the frame is malformed.
        """
        if not stream_id % 2:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers_on_even_stream")
        fragment = _header_fragment(flags, payload)
        end_stream = bool(flags & FLAG_END_STREAM)
        if flags & FLAG_END_HEADERS:
            return HeaderBlockReceived(stream_id, bytes(fragment), end_stream)
        self._block = bytearray(fragment)
        self._stream_id = stream_id
        self._end_stream = end_stream
        self._frames = 1
        self.block_count += 1
        return None

    def continuation(
        self, flags: int, stream_id: int, payload: memoryview
    ) -> HeaderBlockReceived | None:
        """Take CONTINUATION; None when more must follow.

        Raises:
            ConnectionFault: it continues nothing, or the chain is too long.
        """
        block = self._block
        if block is None or stream_id != self._stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "unexpected_continuation")
        self._frames += 1
        if self._frames > self._limits.continuation_frames_max:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_continuations")
        if len(block) + len(payload) > self._limits.header_block_size_max:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header_block_too_large")
        block += payload
        if not flags & FLAG_END_HEADERS:
            return None
        self._block = None
        return HeaderBlockReceived(stream_id, bytes(block), self._end_stream)


def _header_fragment(flags: int, payload: memoryview) -> memoryview:
    """A HEADERS payload without padding and priority fields."""
    start, end = 0, len(payload)
    if flags & frames.FLAG_PADDED:
        if not payload:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding_exceeds_payload")
        end -= payload[0]
        start = 1
    if flags & frames.FLAG_PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding_exceeds_payload")
    return payload[start:end]
