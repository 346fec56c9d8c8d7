"""Every bound of the transport as one frozen value, with its default and unit."""

from __future__ import annotations

from dataclasses import dataclass, field

from ottla_broker.transport.http2.http2_limits import Http2Limits


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds and times of a listener and its connections; sizes in bytes."""

    http2: Http2Limits = field(default_factory=Http2Limits)

    # gRPC's own default for both directions.
    message_size_max: int = 4 << 20
    connections_max: int = 10_000

    # All messages in memory of all connections together, and the share one connection may hold.
    memory_max: int = 512 << 20
    connection_memory_max: int = 64 << 20
    # What one stream, and all streams of a connection, may have queued for sending.
    stream_queue_size_max: int = 1 << 20
    connection_queue_size_max: int = 16 << 20

    # From accepting to the client's SETTINGS, TLS included.
    handshake_timeout_ms: int = 20_000
    # A frame begun and not finished, without a byte arriving; for a header block, and for any
    # frame but DATA, in all.
    frame_timeout_ms: int = 30_000
    # A message begun and not finished: without a byte arriving, and in all.
    message_idle_timeout_ms: int = 30_000
    message_timeout_ms: int = 300_000
    # Output waiting and not a byte accepted by the socket.
    write_timeout_ms: int = 60_000
    # A stream with something to send whose window the client leaves shut, as a consumer does that
    # pauses: what it was sent waits, its handler is held back, heartbeats behind the shut window
    # wait as well, and it goes on where it was when it reads again. A pause costs a task and what
    # is queued: file ranges, which keep deleted files on disk, or memory. So it may be long, but
    # while half of the memory is in use a stream that holds some may not. At the end the client
    # sees RST_STREAM with CANCEL, and resumes by a new call.
    stream_stall_timeout_ms: int = 60 * 60_000
    stream_stall_pressed_timeout_ms: int = 60_000

    keepalive_idle_ms: int = 30_000
    keepalive_timeout_ms: int = 20_000
    connection_age_max_ms: int = 30 * 60_000
    # Ages differ by up to this fraction, so that clients do not all return at once.
    connection_age_jitter: float = 0.1
    # How long a draining connection waits for the answer that its GOAWAY has arrived.
    drain_ping_timeout_ms: int = 5_000
    # How long a connection that has said all reads on, so that its last words are not lost.
    linger_timeout_ms: int = 2_000
