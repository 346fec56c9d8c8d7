"""What each received frame does: the rules of RFC 9113 for streams, windows and settings.

A `StreamFault` raised below becomes RST_STREAM here; a `ConnectionFault` passes through to the
connection. Events are appended to the list of the current `receive_data`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ottla_broker.transport.http2 import frames
from ottla_broker.transport.http2.connection_frames import ConnectionFrames, Turn
from ottla_broker.transport.http2.control_queue import ControlQueue
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode, StreamFault
from ottla_broker.transport.http2.events import (
    DataReceived,
    RequestReceived,
    StreamAborted,
    TrailersReceived,
)
from ottla_broker.transport.http2.frame_reader import FrameReader
from ottla_broker.transport.http2.frames import FLAG_ACK, FLAG_END_STREAM
from ottla_broker.transport.http2.header_assembly import HeaderAssembly, HeaderBlockReceived
from ottla_broker.transport.http2.header_blocks import HeaderDecoder
from ottla_broker.transport.http2.header_rules import check_request, check_trailers, list_size
from ottla_broker.transport.http2.http2_limits import Http2Limits
from ottla_broker.transport.http2.rate_limits import RateLimits
from ottla_broker.transport.http2.stream_table import StreamTable
from ottla_broker.transport.http2.streams import Stream, StreamInput
from ottla_broker.transport.http2.windows import ReceiveWindow
from ottla_broker.transport.stream import Header


class FrameHandlers:
    """Implements `FrameSink` on the streams of one connection."""

    reader: FrameReader

    def __init__(self, limits: Http2Limits, *, table: StreamTable, control: ControlQueue) -> None:
        self.turn = Turn()
        self.rates = RateLimits(limits.rates)
        self.connection_frames = ConnectionFrames(
            self.turn, rates=self.rates, table=table, control=control
        )
        self.data_stream_id = 0
        self._limits = limits
        self._table = table
        self._control = control
        self._window = ReceiveWindow(limits.connection_window)
        self._decoder = HeaderDecoder(
            list_size_max=limits.header_list_size_hard_max, table_size=limits.header_table_size
        )
        self._assembly = HeaderAssembly(limits)
        self._data_ends_stream = False
        self._by_kind: dict[int, Callable[[int, int, memoryview], None]] = {
            **self.connection_frames.by_kind,
            frames.HEADERS: self._headers,
            frames.CONTINUATION: self._continuation,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
        }

    @property
    def inside_header_block(self) -> bool:
        """HEADERS have come whose END_HEADERS has not."""
        return self._assembly.unfinished

    @property
    def unfinished_block(self) -> tuple[int, int] | None:
        """Names the header block that has begun and not ended; None without one."""
        return (1, self._assembly.block_count) if self._assembly.unfinished else None

    # -- DATA and windows: the fast path -------------------------------------------------------

    def data_begins(self, stream_id: int, flags: int, *, size: int, overhead: int) -> bool:
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "data_on_stream_0")
        if not self._window.debit(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection_window_exceeded")
        # The connection's window is given back on receipt, whatever becomes of the bytes.
        increment = self._window.credit(size)
        if increment:
            self._control.put_credit(0, increment)
        self._data_ends_stream = bool(flags & FLAG_END_STREAM)
        if size == overhead and not self._data_ends_stream:
            self.rates.empty_data.take(self.turn.now_ms)
        self.data_stream_id = stream_id
        stream = self._table.streams.get(stream_id)
        try:
            if stream is None:
                self.rates.ignored.take(self.turn.now_ms)
                self._table.step_absent(stream_id, StreamInput.RECV_DATA)
                return False
            stream.step(StreamInput.RECV_DATA)
            if not stream.receive_window.debit(size):
                raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window exceeded")
            if overhead:
                self._table.credit(stream, overhead)
        except StreamFault as fault:
            self._fail_stream(stream_id, fault)
            return False
        return True

    def data(self, piece: memoryview, *, last: bool) -> None:
        stream_id = self.data_stream_id
        stream = self._table.streams.get(stream_id)
        if stream is None:
            return
        ends = last and self._data_ends_stream
        stream.body_size_received += len(piece)
        try:
            if stream.body_size_announced is not None:
                _check_body_size(stream, whole=ends)
            if ends:
                self._table.received_end(stream)
        except StreamFault as fault:
            self._fail_stream(stream_id, fault)
            return
        if piece or ends:
            self.turn.events.append(DataReceived(stream_id, piece, ends))

    def count_body(self, size: int) -> None:
        """Count DATA payload that did not come through `data`."""
        stream = self._table.streams.get(self.data_stream_id)
        if stream is not None:
            stream.body_size_received += size

    def window_update(self, stream_id: int, increment: int) -> None:
        table = self._table
        if stream_id:
            stream = table.streams.get(stream_id)
            if stream is None:
                self._absent(stream_id, StreamInput.RECV_WINDOW_UPDATE)
                return
            if not increment:
                fault = StreamFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
                self._fail_stream(stream_id, fault)
            elif not stream.send_window.shift(increment):
                fault = StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "window past 2**31-1")
                self._fail_stream(stream_id, fault)
            else:
                table.scheduler.release_window(stream)
            return
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "window_update_of_0")
        if not table.scheduler.window.shift(increment):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection_window_overflow")

    # -- everything else -----------------------------------------------------------------------

    def frame(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> None:
        handler = self._by_kind.get(kind)
        if handler is None:
            self.rates.ignored.take(self.turn.now_ms)
            return
        try:
            handler(flags, stream_id, payload)
        except StreamFault as fault:
            self._fail_stream(stream_id, fault)

    def _headers(self, flags: int, stream_id: int, payload: memoryview) -> None:
        self._whole_block(self._assembly.headers(flags, stream_id, payload))

    def _continuation(self, flags: int, stream_id: int, payload: memoryview) -> None:
        self.rates.continuations.take(self.turn.now_ms)
        self._whole_block(self._assembly.continuation(flags, stream_id, payload))

    def _whole_block(self, block: HeaderBlockReceived | None) -> None:
        """Act on a block; None is the beginning of one, which only CONTINUATION may follow."""
        self.reader.expect(frames.CONTINUATION if block is None else None)
        if block is None:
            return
        stream_id = block.stream_id
        # Decoded whatever becomes of it: the next block depends on it.
        headers = self._decoder.decode(block.fragment)
        stream = self._table.streams.get(stream_id)
        if stream is not None:
            stream.step(StreamInput.RECV_HEADERS)
            self._trailers(stream, headers, ends=block.end_stream)
        elif stream_id > self._table.highest_stream_id:
            self._request(stream_id, headers, ends=block.end_stream)
        elif self._table.closed.state_of(stream_id) is None:
            # Never opened, and a higher one was: identifiers only grow.
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream_id_not_increasing")
        else:
            self._absent(stream_id, StreamInput.RECV_HEADERS)

    def _request(self, stream_id: int, headers: Sequence[Header], *, ends: bool) -> None:
        table = self._table
        table.highest_stream_id = stream_id
        if table.full:
            self.rates.refusals.take(self.turn.now_ms)
            table.refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        try:
            self._check_list_size(headers)
            body_size = check_request(headers)
            if ends and body_size:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "no body, but a content-length")
        except StreamFault as fault:
            self.rates.refusals.take(self.turn.now_ms)
            table.refuse(stream_id, fault.code)
            return
        stream = table.open(stream_id)
        stream.body_size_announced = body_size
        self.turn.events.append(RequestReceived(stream_id, headers, ends))
        if ends:
            table.received_end(stream)

    def _trailers(self, stream: Stream, headers: Sequence[Header], *, ends: bool) -> None:
        if not ends:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM")
        self._check_list_size(headers)
        check_trailers(headers)
        _check_body_size(stream, whole=True)
        self.turn.events.append(TrailersReceived(stream.stream_id, headers))
        self._table.received_end(stream)

    def _check_list_size(self, headers: Sequence[Header]) -> None:
        if list_size(headers) > self._limits.header_list_size_max:
            raise StreamFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large")

    def _rst_stream(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "rst_stream_on_stream_0")
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "rst_stream_of_wrong_size")
        self.rates.resets.take(self.turn.now_ms)
        stream = self._table.streams.get(stream_id)
        if stream is None:
            self._table.step_absent(stream_id, StreamInput.RECV_RST_STREAM)
            return
        stream.step(StreamInput.RECV_RST_STREAM)
        self._table.close(stream)
        code = int.from_bytes(payload, "big")
        self.turn.events.append(StreamAborted(stream_id, code, by_peer=True))

    def _settings(self, flags: int, stream_id: int, payload: memoryview) -> None:
        self.connection_frames.settings(flags, stream_id, payload)
        if not flags & FLAG_ACK:
            # They open the connection, and may come again at any time.
            self.reader.expect(None)

    # -- faults of one stream ------------------------------------------------------------------

    def _absent(self, stream_id: int, step: StreamInput) -> None:
        self.rates.ignored.take(self.turn.now_ms)
        try:
            self._table.step_absent(stream_id, step)
        except StreamFault as fault:
            self._fail_stream(stream_id, fault)

    def _fail_stream(self, stream_id: int, fault: StreamFault) -> None:
        """Reset a stream for a fault of the client's; absent ones get the frame all the same."""
        self.rates.refusals.take(self.turn.now_ms)
        stream = self._table.streams.get(stream_id)
        if stream is None:
            self._table.refuse(stream_id, fault.code)
            return
        self._table.reset(stream, fault.code)
        self.turn.events.append(StreamAborted(stream_id, fault.code, by_peer=False))


def _check_body_size(stream: Stream, *, whole: bool) -> None:
    announced = stream.body_size_announced
    if announced is None:
        return
    received = stream.body_size_received
    if received > announced or (whole and received != announced):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "body of another size than content-length")
