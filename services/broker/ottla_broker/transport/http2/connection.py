"""One HTTP/2 connection, server side, without I/O: `receive_data` in, `data_to_send` out.

```
 bytes -> FrameReader -> ServerConnection (streams, windows, rules) -> events
 send_* / reset / acknowledge -> Scheduler and control frames -> bytes and file ranges
```
The caller writes the output in order and whole. Faults of the client become RST_STREAM or
GOAWAY and an event; nothing it sends raises. After either side's GOAWAY streams in flight go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla_broker.transport.http2 import frames, settings
from ottla_broker.transport.http2.control_queue import ControlQueue
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.events import ConnectionFailed, Event
from ottla_broker.transport.http2.frame_handlers import FrameHandlers
from ottla_broker.transport.http2.frame_reader import FrameReader
from ottla_broker.transport.http2.header_blocks import HeaderEncoder
from ottla_broker.transport.http2.http2_limits import Http2Limits
from ottla_broker.transport.http2.outbox import HeaderBlock
from ottla_broker.transport.http2.pending_output import PendingOutput
from ottla_broker.transport.http2.scheduler import WarmthProbe
from ottla_broker.transport.http2.stream_table import StreamTable
from ottla_broker.transport.http2.streams import Stream
from ottla_broker.transport.stream import FileRange, Header, Part

# Opaque data of the PING between the two GOAWAYs of a drain.
_DRAIN_PING = b"ottladrn"


class ServerConnection:
    """The protocol state of one connection; used from one thread, by one owner."""

    def __init__(self, limits: Http2Limits) -> None:
        self._control = ControlQueue(limits)
        self._table = StreamTable(limits, self._control)
        self.output = PendingOutput(self._table)
        self._handlers = FrameHandlers(limits, table=self._table, control=self._control)
        self._reader = FrameReader(
            self._handlers,
            frame_size_max=limits.frame_size_max,
            control_size_max=limits.header_block_size_max,
        )
        self._handlers.reader = self._reader
        self._encoder = HeaderEncoder()
        self._limits = limits
        self._greeted = False
        # Since when the client owes the rest of a header block or of a frame other than DATA,
        # and which one that is.
        self.unfinished_since_ms: int | None = None
        self._unfinished: tuple[int, int] | None = None
        self._draining = False

    # -- what the connection is doing --------------------------------------------------------

    @property
    def failed(self) -> bool:
        """The client broke the protocol: GOAWAY is queued, further input is ignored."""
        return self._control.closed

    @property
    def started(self) -> bool:
        """Preface and first SETTINGS have been received."""
        return self._reader.started

    @property
    def inside_frame(self) -> bool:
        """The client owes the rest of a frame or header block."""
        return self._reader.inside_frame or self._handlers.inside_header_block

    @property
    def open_streams(self) -> int:
        """Streams that are not closed."""
        return len(self._table.streams)

    @property
    def draining(self) -> bool:
        """GOAWAY was sent by us or received: the connection ends with its last stream."""
        return self._draining or self._handlers.connection_frames.peer_going_away

    @property
    def drained(self) -> bool:
        """Draining, the last GOAWAY is out, and no stream is left."""
        if self._draining and not self._table.refusing:
            return False
        return self.draining and not self._table.streams

    # -- input -------------------------------------------------------------------------------

    def receive_data(self, data: memoryview, *, now_ms: int) -> list[Event]:
        """Take the next bytes from the client; views in the events point into `data`."""
        handlers = self._handlers
        events: list[Event] = []
        if self._control.closed:
            return events
        handlers.turn.begin(events, now_ms)
        try:
            self._reader.receive(data)
            self._control.check_backlog()
        except ConnectionFault as fault:
            self._fail(fault, events)
        if not self._greeted and self._reader.started:
            self._greet()
        unfinished = self._handlers.unfinished_block or self._reader.unfinished_frame
        if unfinished != self._unfinished:
            self._unfinished = unfinished
            self.unfinished_since_ms = now_ms if unfinished else None
        return events

    def direct_data(self) -> tuple[int, int]:
        """Stream and size of the DATA payload that comes next; size 0 when something else does.

        The caller may receive up to that many bytes where they belong and report them with
        `received_directly`.
        """
        if self._control.closed:
            return 0, 0
        return self._handlers.data_stream_id, self._reader.takes_data

    def received_directly(self, size: int, *, now_ms: int) -> list[Event]:
        """Count bytes of DATA payload received by the caller; the last come with an event."""
        events: list[Event] = []
        self._handlers.turn.begin(events, now_ms)
        self._handlers.count_body(size)
        try:
            self._reader.received_directly(size)
        except ConnectionFault as fault:
            self._fail(fault, events)
        return events

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Return flow-control credit for `size` bytes of a stream's DATA."""
        stream = self._table.streams.get(stream_id)
        if stream is not None:
            self._table.credit(stream, size)

    # -- output ------------------------------------------------------------------------------

    def data_to_send(self, *, size_max: int, now_ms: int, probe: WarmthProbe) -> list[Part]:
        """Frames to write next, with about `size_max` bytes of DATA; empty when there are none.

        Each `FileRange` holds its own reference to the file, which the caller releases. `probe`
        tells whether a range is in the page cache; streams whose range is not wait for
        `file_warmed`.
        """
        output: list[Part] = []
        self._control.take(output)
        if not self._control.closed and not self._table.scheduler.idle:
            earned = len(output)
            self._table.scheduler.plan(output, size_max=size_max, now_ms=now_ms, probe=probe)
            self._handlers.rates.pings.give(len(output) - earned)
            # Ending a stream early may have queued a RST_STREAM behind its trailers.
            self._control.take(output)
        return output

    def send_headers(self, stream_id: int, headers: Sequence[Header], *, end_stream: bool) -> bool:
        """Queue a header list behind what the stream has queued; False when it is closed."""
        stream = self._table.streams.get(stream_id)
        if stream is None:
            return False
        stream.outbox.items.append(HeaderBlock(self._encoder.encode(headers), end_stream))
        self._table.scheduler.schedule(stream)
        return True

    def send_data(self, stream_id: int, parts: Sequence[Part]) -> bool:
        """Queue DATA; False when the stream is closed, the parts' files then stay the caller's."""
        stream = self._table.streams.get(stream_id)
        if stream is None:
            return False
        self._table.scheduler.memory_size += stream.outbox.put(parts)
        self._table.scheduler.schedule(stream)
        return True

    def watch_for_room(self, stream_id: int) -> None:
        """Name the stream in `take_relieved` once some of its DATA has been framed."""
        stream = self._table.streams.get(stream_id)
        if stream is not None:
            stream.outbox.watched = True

    def watch_for_window(self, stream_id: int) -> bool:
        """Name the stream in `take_relieved` once its window opens; False if it is not shut."""
        stream = self._table.streams.get(stream_id)
        if stream is None or stream.send_window.size > 0:
            return False
        stream.outbox.awaits_window = True
        return True

    def reset_stream(self, stream_id: int, code: int) -> bool:
        """Abandon a stream with RST_STREAM; False when it is closed already."""
        stream = self._table.streams.get(stream_id)
        if stream is None:
            return False
        self._table.reset(stream, code)
        return True

    def take_ended(self) -> list[int]:
        """Streams that have ended cleanly on both sides since the last call."""
        ended, self._table.ended = self._table.ended, []
        return ended

    def take_relieved(self) -> list[int]:
        """Watched streams whose queue has become shorter, or window opened, since last call."""
        scheduler = self._table.scheduler
        relieved, scheduler.relieved = scheduler.relieved, []
        return relieved

    def take_cold(self) -> list[tuple[int, FileRange]]:
        """Streams that wait for a file range to be read into the page cache, since last call."""
        scheduler = self._table.scheduler
        cold, scheduler.cold = scheduler.cold, []
        return cold

    def file_warmed(self, stream_id: int, size: int, *, now_ms: int) -> None:
        """The range a stream waited for is in the page cache."""
        stream = self._table.streams.get(stream_id)
        if stream is not None:
            self._table.scheduler.warmed(stream, size=size, now_ms=now_ms)

    def ping(self, opaque: bytes) -> None:
        """Queue a PING of eight bytes."""
        self._control.put(frames.ping_frame(opaque, ack=False))

    # -- the end -----------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Announce the end: GOAWAY that refuses nothing yet, and a PING to learn it arrived."""
        if not self._draining:
            self._draining = True
            self._handlers.connection_frames.drain_ping = _DRAIN_PING
            if not self._greeted:
                self._greet()
            self._control.put(frames.goaway_frame(frames.STREAM_ID_MAX, ErrorCode.NO_ERROR))
            self.ping(_DRAIN_PING)

    def finish_drain(self) -> None:
        """Send the GOAWAY that names the last stream; later ones are refused."""
        self._draining = True
        self._handlers.connection_frames.finish_drain()

    def close(self, code: ErrorCode, reason: str) -> None:
        """End at once with GOAWAY; everything queued is dropped."""
        self._fail(ConnectionFault(code, reason), [])

    def connection_lost(self) -> list[Stream]:
        """Drop everything queued; returns the streams that were open."""
        streams = list(self._table.streams.values())
        self._table.drop_all()
        self._control.closed = True
        return streams

    def _greet(self) -> None:
        self._greeted = True
        limits = self._limits
        self._control.put_first(
            frames.settings_frame(settings.announced(limits))
            + frames.window_update_frame(0, limits.connection_window - 65_535)
        )

    def _fail(self, fault: ConnectionFault, events: list[Event]) -> None:
        if self._control.closed:
            return
        last = self._table.last_stream_id
        debug = fault.reason.encode("ascii", "replace")[:128]
        self._control.put(frames.goaway_frame(last, fault.code, debug=debug))
        self._control.closed = True
        self._table.drop_queued()
        events.append(ConnectionFailed(fault.code, fault.reason))
