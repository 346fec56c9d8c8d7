"""Cuts the bytes a client sends into frames, in a tight loop and whatever way they arrive cut.

DATA is passed on in pieces as it comes, so no frame is ever held to be whole; every other frame
is small, or refused. What is left over between calls is at most one such frame. The rules of
frame order that need no stream (preface, first SETTINGS, CONTINUATION) are checked here, all
others by the sink.
"""

from __future__ import annotations

from typing import Protocol

from ottla_broker.transport.http2 import frames
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.frames import DATA, FLAG_PADDED, HEADER_SIZE, PREFACE

_NO_DATA = memoryview(b"")
# Frames whose payload must be read whole.
_WHOLE = frozenset(
    (
        frames.HEADERS,
        frames.PRIORITY,
        frames.RST_STREAM,
        frames.SETTINGS,
        frames.PUSH_PROMISE,
        frames.PING,
        frames.GOAWAY,
        frames.WINDOW_UPDATE,
        frames.CONTINUATION,
    )
)
_ANY_KIND = -1


class FrameSink(Protocol):
    """Takes frames in order. Whatever it raises ends the reading."""

    def data_begins(self, stream_id: int, flags: int, *, size: int, overhead: int) -> bool:
        """A DATA frame of `size` bytes, `overhead` of them padding; False to drop its payload."""
        ...

    def data(self, piece: memoryview, *, last: bool) -> None:
        """A piece of the payload of the frame announced last, without padding."""
        ...

    def window_update(self, stream_id: int, increment: int) -> None:
        """A WINDOW_UPDATE frame."""
        ...

    def frame(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> None:
        """Any other frame, whole; the payload of an unknown kind is not kept."""
        ...


class FrameReader:
    """Owns the position inside the frame being received."""

    __slots__ = (
        "_control_size_max",
        "_dropping",
        "_expected_kind",
        "_frame_count",
        "_frame_size_max",
        "_padding_left",
        "_partial",
        "_preface_left",
        "_sink",
        "_skip_left",
        "data_left",
    )

    def __init__(self, sink: FrameSink, *, frame_size_max: int, control_size_max: int) -> None:
        self._sink = sink
        self._frame_size_max = frame_size_max
        self._control_size_max = control_size_max
        self._partial = bytearray()
        self._preface_left = PREFACE
        self._expected_kind = frames.SETTINGS
        # Payload bytes of the current DATA frame still to come, and what follows them.
        self.data_left = 0
        self._padding_left = 0
        self._dropping = False
        self._skip_left = 0
        self._frame_count = 0

    @property
    def unfinished_frame(self) -> tuple[int, int] | None:
        """Names the frame that has begun and is not whole; None between frames and in DATA."""
        return (0, self._frame_count) if self._partial or self._skip_left else None

    @property
    def inside_frame(self) -> bool:
        """A frame has begun and is not whole."""
        return bool(self._partial or self.data_left or self._padding_left or self._skip_left)

    @property
    def takes_data(self) -> int:
        """How many bytes of DATA payload come next that somebody wants; 0 when something else."""
        return 0 if self._dropping else self.data_left

    @property
    def started(self) -> bool:
        """The client's preface and its first frame have arrived."""
        return not self._preface_left and self._expected_kind != frames.SETTINGS

    def expect(self, kind: int | None) -> None:
        """Only a frame of this kind may come next; None allows any."""
        self._expected_kind = _ANY_KIND if kind is None else kind

    def receive(self, data: memoryview) -> None:
        """Take the next bytes.

        Raises:
            ConnectionFault: they are no HTTP/2, or break a rule of the whole connection.
        """
        position = 0
        if self._preface_left:
            position = self._receive_preface(data)
        if self._skip_left:
            position += self._skip(len(data) - position)
        if self.data_left or self._padding_left:
            position = self._receive_payload(data, position)
        if self._partial:
            position = self._complete_partial(data, position)
        position = self._parse(data, position)
        if position < len(data):
            self._partial += data[position:]

    def received_directly(self, size: int) -> None:
        """Count `size` bytes of DATA payload that the caller put where they belong itself."""
        self.data_left -= size
        if not self.data_left and not self._padding_left:
            self._sink.data(_NO_DATA, last=True)

    def _receive_preface(self, data: memoryview) -> int:
        expected = self._preface_left
        piece = bytes(data[: len(expected)])
        if not expected.startswith(piece):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not_http2")
        self._preface_left = expected[len(piece) :]
        return len(piece)

    def _skip(self, available: int) -> int:
        count = min(self._skip_left, available)
        self._skip_left -= count
        return count

    def _receive_payload(self, data: memoryview, position: int) -> int:
        """Pass on what `data` holds of the current DATA frame; returns the position behind it."""
        available = len(data) - position
        if self.data_left:
            count = min(self.data_left, available)
            self.data_left -= count
            last = not self.data_left and not self._padding_left
            if count and not self._dropping:
                self._sink.data(data[position : position + count], last=last)
            position += count
            available -= count
            if last or self.data_left:
                return position
        count = min(self._padding_left, available)
        self._padding_left -= count
        if not self._padding_left and not self._dropping:
            self._sink.data(_NO_DATA, last=True)
        return position + count

    def _complete_partial(self, data: memoryview, position: int) -> int:
        """Fill up the frame left over from the last call with as little as it needs."""
        partial = self._partial
        while True:
            missing = self._size_needed(partial) - len(partial)
            if missing <= 0:
                break
            piece = data[position : position + missing]
            if not piece:
                return position
            partial += piece
            position += len(piece)
        whole = memoryview(bytes(partial))
        partial.clear()
        consumed = self._parse(whole, 0)
        assert consumed == len(whole)
        # What was completed may have been the header of a frame whose payload follows.
        if self._skip_left:
            position += self._skip(len(data) - position)
        if self.data_left or self._padding_left:
            position = self._receive_payload(data, position)
        return position

    def _size_needed(self, partial: bytearray) -> int:
        """How many bytes from the frame's start on must be there before it can be parsed."""
        if len(partial) < HEADER_SIZE:
            return HEADER_SIZE
        size = int.from_bytes(partial[:3], "big")
        kind, flags = partial[3], partial[4]
        if kind == DATA:
            return HEADER_SIZE + (1 if flags & FLAG_PADDED and size else 0)
        if kind not in _WHOLE or size > self._control_size_max:
            return HEADER_SIZE
        return HEADER_SIZE + size

    def _parse(self, data: memoryview, position: int) -> int:
        """Take whole frames and the beginnings of DATA; returns where the first rest begins."""
        end = len(data)
        sink = self._sink
        unpack = frames.FRAME_HEADER.unpack_from
        while end - position >= HEADER_SIZE:
            high, low, kind, flags, stream_id = unpack(data, position)
            self._frame_count += 1
            size = high << 16 | low
            stream_id &= frames.STREAM_ID_MAX
            if self._expected_kind not in {kind, _ANY_KIND}:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "unexpected_frame")
            if size > self._frame_size_max:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame_too_large")
            payload = position + HEADER_SIZE
            if kind == DATA:
                overhead = 0
                if flags & FLAG_PADDED and size:
                    if end == payload:
                        break
                    overhead = 1 + data[payload]
                    payload += 1
                self._begin_data(stream_id, flags, size=size, overhead=overhead)
                position = payload
                if self.data_left or self._padding_left:
                    position = self._receive_payload(data, position)
            elif kind == frames.WINDOW_UPDATE and size == 4:
                if end - payload < 4:
                    break
                increment = int.from_bytes(data[payload : payload + 4], "big")
                sink.window_update(stream_id, increment & frames.STREAM_ID_MAX)
                position = payload + 4
            elif kind in _WHOLE:
                if size > self._control_size_max:
                    raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "control_frame_too_large")
                if end - payload < size:
                    break
                sink.frame(kind, flags, stream_id, data[payload : payload + size])
                position = payload + size
            else:
                sink.frame(kind, flags, stream_id, _NO_DATA)
                self._skip_left = size
                position = payload + self._skip(end - payload)
        return position

    def _begin_data(self, stream_id: int, flags: int, *, size: int, overhead: int) -> None:
        if overhead > size or (flags & FLAG_PADDED and not size):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding_exceeds_payload")
        wanted = self._sink.data_begins(stream_id, flags, size=size, overhead=overhead)
        self._dropping = not wanted
        self.data_left = size - overhead
        self._padding_left = max(overhead - 1, 0)
        if wanted and not self.data_left and not self._padding_left:
            self._sink.data(_NO_DATA, last=True)
