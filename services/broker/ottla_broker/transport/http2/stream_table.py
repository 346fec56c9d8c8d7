"""The streams of one connection: opened, found, closed, and what is remembered of closed ones.

It owns the scheduler, because closing a stream must take it out of the line, and the credit
owed to streams. Which frames may do what to a stream is the transition table's.
"""

from __future__ import annotations

from ottla_broker.transport.http2.control_queue import ControlQueue
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.frames import reset_frame
from ottla_broker.transport.http2.http2_limits import Http2Limits
from ottla_broker.transport.http2.outbox import Outbox
from ottla_broker.transport.http2.scheduler import Scheduler
from ottla_broker.transport.http2.settings import PeerSettings
from ottla_broker.transport.http2.streams import (
    ClosedStreams,
    Stream,
    StreamInput,
    StreamState,
    transition,
)
from ottla_broker.transport.http2.windows import ReceiveWindow, SendWindow


class StreamTable:
    """Owns the records of live streams."""

    def __init__(self, limits: Http2Limits, control: ControlQueue) -> None:
        self.peer = PeerSettings()
        self.scheduler = Scheduler(self.peer, on_end=self._sent_end)
        self.streams: dict[int, Stream] = {}
        self.closed = ClosedStreams(limits.closed_streams_remembered)
        # The highest stream taken on, and the highest seen, taken or refused.
        self.last_stream_id = 0
        self.highest_stream_id = 0
        # After the second GOAWAY of a drain every new stream is refused.
        self.refusing = False
        # Cleanly ended streams, until the shell asks.
        self.ended: list[int] = []
        self._limits = limits
        self._control = control

    @property
    def full(self) -> bool:
        """No further stream may be opened now."""
        return self.refusing or len(self.streams) >= self._limits.concurrent_streams_max

    def open(self, stream_id: int) -> Stream:
        """Take a new stream on."""
        stream = Stream(
            stream_id,
            StreamState.IDLE,
            SendWindow(self.peer.initial_window_size),
            ReceiveWindow(self._limits.stream_window),
            Outbox(),
        )
        stream.step(StreamInput.RECV_HEADERS)
        self.streams[stream_id] = stream
        self.last_stream_id = stream_id
        return stream

    def refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Answer a new stream with RST_STREAM and nothing else."""
        self.closed.remember(stream_id, StreamState.RESET_SENT)
        self._control.put(reset_frame(stream_id, code))

    def state_of_absent(self, stream_id: int) -> StreamState:
        """The state of a stream that is not live.

        A stream passed over, or closed so long ago that it is forgotten, counts as one we have
        reset: what still comes for it is dropped.
        """
        if stream_id > self.highest_stream_id or not stream_id % 2:
            return StreamState.IDLE
        return self.closed.state_of(stream_id) or StreamState.RESET_SENT

    def step_absent(self, stream_id: int, step: StreamInput) -> None:
        """Judge a frame for a stream that is not live.

        Raises:
            StreamFault: it deserves a RST_STREAM.
            ConnectionFault: it deserves a GOAWAY.
        """
        transition(self.state_of_absent(stream_id), step)

    def credit(self, stream: Stream, size: int) -> None:
        """Owe `size` bytes of window back to a stream that may still send."""
        increment = stream.receive_window.credit(size)
        if increment and stream.state in {StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL}:
            self._control.put_credit(stream.stream_id, increment)

    def close(self, stream: Stream) -> None:
        """Forget a stream that has reached a closed state, and what it had queued."""
        del self.streams[stream.stream_id]
        self.closed.remember(stream.stream_id, stream.state)
        self.scheduler.forget(stream)
        self._control.forget_credit(stream.stream_id)

    def reset(self, stream: Stream, code: int) -> None:
        """Close a stream with RST_STREAM."""
        stream.step(StreamInput.SEND_RST_STREAM)
        self._control.put(reset_frame(stream.stream_id, code))
        self.close(stream)

    def received_end(self, stream: Stream) -> None:
        """The client has ended its side."""
        stream.step(StreamInput.RECV_END_STREAM)
        if stream.state is StreamState.ENDED:
            self.ended.append(stream.stream_id)
            self.close(stream)

    def change_initial_window(self, size: int) -> None:
        """Apply the client's INITIAL_WINDOW_SIZE to itself and to every live stream.

        Raises:
            ConnectionFault: a window would pass 2³¹-1.
        """
        delta = size - self.peer.initial_window_size
        self.peer.initial_window_size = size
        for stream in self.streams.values():
            if not stream.send_window.shift(delta):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window_overflow")
            if delta > 0:
                self.scheduler.release_window(stream)

    def drop_queued(self) -> None:
        """Drop what every stream has queued."""
        for stream in self.streams.values():
            self.scheduler.forget(stream)

    def drop_all(self) -> None:
        """The connection is gone."""
        self.drop_queued()
        self.streams.clear()

    def _sent_end(self, stream: Stream) -> None:
        """Our side has ended. If the client's has not, tell it not to go on (RFC 9113, 8.1)."""
        self.ended.append(stream.stream_id)
        if stream.state is StreamState.HALF_CLOSED_LOCAL:
            self.reset(stream, ErrorCode.NO_ERROR)
        else:
            self.close(stream)
