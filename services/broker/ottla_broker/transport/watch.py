"""What time does to a connection: decided once a second by looking, not by timers of its own.

One `ConnectionWatch` remembers when things began (an age, a silence, a blocked write) and acts
on the connection when they have lasted too long.
"""

from __future__ import annotations

from ottla_broker.transport.connection import Connection, Phase
from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.server_stream import ServerStream

_KEEPALIVE = b"ottlaliv"


class ConnectionWatch:
    """Times of one connection; `look` is called by the listener's sweep."""

    def __init__(self, limits: TransportLimits, *, now_ms: int, jitter: float) -> None:
        self._limits = limits
        self._began_ms = now_ms
        age_ms = limits.connection_age_max_ms
        self._ends_ms = now_ms + age_ms + int(age_ms * limits.connection_age_jitter * jitter)
        self._received_size = 0
        self._received_ms = now_ms
        self._written_size = 0
        self._written_ms = now_ms
        self._pinged_ms: int | None = None
        self._drain_began_ms: int | None = None
        self._drain_finished = False
        self._lingering_since_ms: int | None = None

    def drain_began(self, now_ms: int) -> None:
        """Somebody else has begun to drain the connection."""
        if self._drain_began_ms is None:
            self._drain_began_ms = now_ms

    def look(self, connection: Connection, now_ms: int) -> None:
        """Do what has become due."""
        limits = self._limits
        self._note_progress(connection, now_ms)
        silent_ms = now_ms - self._received_ms
        if connection.phase is Phase.LINGERING or connection.core.failed:
            if self._lingering_since_ms is None:
                self._lingering_since_ms = now_ms
            elif now_ms - self._lingering_since_ms >= limits.linger_timeout_ms:
                connection.abort("lingered long enough")
        elif not connection.core.started:
            if now_ms - self._began_ms >= limits.handshake_timeout_ms:
                connection.abort("handshake timed out")
        elif connection.writing_is_blocked and (
            now_ms - self._written_ms >= limits.write_timeout_ms
        ):
            connection.abort("the client does not read")
        elif self._is_half_a_frame(connection, silent_ms=silent_ms, now_ms=now_ms):
            connection.close(ErrorCode.PROTOCOL_ERROR, "half_a_frame")
        else:
            self._look_at_drain(connection, now_ms)
            self._look_at_keepalive(connection, silent_ms=silent_ms, now_ms=now_ms)
            for stream in list(connection.streams.values()):
                self._look_at_stream(connection, stream, now_ms)

    def _is_half_a_frame(self, connection: Connection, *, silent_ms: int, now_ms: int) -> bool:
        core, timeout_ms = connection.core, self._limits.frame_timeout_ms
        if core.inside_frame and silent_ms >= timeout_ms:
            return True
        return core.unfinished_since_ms is not None and (
            now_ms - core.unfinished_since_ms >= timeout_ms
        )

    def _note_progress(self, connection: Connection, now_ms: int) -> None:
        if connection.received_size != self._received_size:
            self._received_size = connection.received_size
            self._received_ms = now_ms
            self._pinged_ms = None
        if connection.written_size != self._written_size or not connection.writing_is_blocked:
            self._written_size = connection.written_size
            self._written_ms = now_ms

    def _look_at_drain(self, connection: Connection, now_ms: int) -> None:
        if self._drain_began_ms is None:
            if now_ms >= self._ends_ms:
                self._drain_began_ms = now_ms
                connection.begin_drain()
        elif (
            not self._drain_finished
            and now_ms - self._drain_began_ms >= self._limits.drain_ping_timeout_ms
        ):
            self._drain_finished = True
            connection.finish_drain()

    def _look_at_keepalive(self, connection: Connection, *, silent_ms: int, now_ms: int) -> None:
        if self._pinged_ms is not None:
            if now_ms - self._pinged_ms >= self._limits.keepalive_timeout_ms:
                connection.abort("keepalive timed out")
        elif silent_ms >= self._limits.keepalive_idle_ms:
            self._pinged_ms = now_ms
            connection.core.ping(_KEEPALIVE)
            connection.flush_soon()

    def _look_at_stream(self, connection: Connection, stream: ServerStream, now_ms: int) -> None:
        limits = self._limits
        if stream.inside_message and stream.message_began_ms is not None:
            idle_ms = now_ms - stream.progress_ms
            total_ms = now_ms - stream.message_began_ms
            if idle_ms >= limits.message_idle_timeout_ms or total_ms >= limits.message_timeout_ms:
                stream.reset(ErrorCode.CANCEL)
                return
        if not connection.core.output.sending_is_held(stream.stream_id):
            stream.stalled_since_ms = None
        elif stream.stalled_since_ms is None:
            stream.stalled_since_ms = now_ms
        elif now_ms - stream.stalled_since_ms >= self._patience_ms(connection, stream):
            stream.reset(ErrorCode.CANCEL)

    def _patience_ms(self, connection: Connection, stream: ServerStream) -> int:
        """How long a client may leave a stream's window shut."""
        if connection.memory_is_short and connection.core.output.queued_memory_size(
            stream.stream_id
        ):
            return self._limits.stream_stall_pressed_timeout_ms
        return self._limits.stream_stall_timeout_ms
