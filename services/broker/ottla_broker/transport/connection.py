"""One client connection: a socket, the HTTP/2 core, and the streams the gRPC side works on.

It runs in callbacks of the event loop on a raw socket (`add_reader`, `add_writer`), not on an
asyncio transport: a transport owns its descriptor and buffers on its own, so `sendfile` between
its writes is impossible (asyncio pauses reading for it, uvloop has none), and it cannot receive
a piece into one buffer and the next into another in one call. Both loops offer the same
callbacks, so the same code runs on either. There is no task per connection: reading wakes
handlers, and one flush after them sends what all of them had to say in one gathered write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

from ottla_broker.transport.byte_budget import BudgetShare
from ottla_broker.transport.byte_ports import BytePort, NotHttp2, TruncatedFile
from ottla_broker.transport.http2 import ErrorCode, ServerConnection
from ottla_broker.transport.http2.events import ConnectionFailed
from ottla_broker.transport.inbox import StreamInbox
from ottla_broker.transport.output_feed import OutputFeed
from ottla_broker.transport.output_room import OutputRoom
from ottla_broker.transport.page_cache import ColdPages
from ottla_broker.transport.reader import PeerClosed, Reader
from ottla_broker.transport.server_stream import ServerStream
from ottla_broker.transport.stream import StreamReset
from ottla_broker.transport.surroundings import Surroundings
from ottla_broker.transport.writer import Writer

_log = logging.getLogger(__name__)


class Phase(Enum):
    """Where a connection is in its life."""

    HANDSHAKE = auto()
    OPEN = auto()
    # Everything is said; what the client still sends is read and dropped.
    LINGERING = auto()
    CLOSED = auto()


class Connection:
    """Owns the socket from accept to close; every method runs in the event loop's thread."""

    def __init__(
        self, port: BytePort, *, peer: str, surroundings: Surroundings[Connection]
    ) -> None:
        self.peer = peer
        self.loop = surroundings.loop
        self.limits = surroundings.limits
        self.auth_context: Mapping[str, Sequence[bytes]] = {}
        self.core = ServerConnection(self.limits.http2)
        self.phase = Phase.HANDSHAKE
        self._port = port
        self._around = surroundings
        self._share = BudgetShare(surroundings.budget, limit=self.limits.connection_memory_max)
        self.room = OutputRoom(self.core, self._share, self.limits.connection_queue_size_max)
        self._inbox = StreamInbox(self, share=self._share, on_stream=surroundings.on_stream)
        self._reader = Reader(port, self.core, inbox=self._inbox, buffer=surroundings.read_buffer)
        self._writer = Writer(
            port,
            OutputFeed(self, surroundings).take,
            probe=surroundings.page_cache.is_warm,
            buffer=surroundings.write_buffer,
        )
        self._flush_scheduled = False
        self._write_blocked = False

    def start(self) -> None:
        """Begin to read."""
        self.loop.add_reader(self._port.fileno(), self._on_readable)

    @property
    def memory_is_short(self) -> bool:
        """Half of what this connection, or all of them, may hold in memory is in use."""
        return self._share.half_used

    @property
    def received_size(self) -> int:
        """Bytes received so far; grows while the client is alive."""
        return self._reader.received_size

    @property
    def written_size(self) -> int:
        """Bytes the socket has taken so far; grows while the client reads."""
        return self._writer.written_size

    @property
    def writing_is_blocked(self) -> bool:
        """Output waits for the client to read."""
        return self._write_blocked

    def begin_drain(self) -> None:
        """Let the client know that the connection will end, then wait for its streams."""
        if self.phase is Phase.HANDSHAKE and not self.core.started:
            self.abort("drained before it began")
        elif self.phase is Phase.OPEN:
            self.core.begin_drain()
            self.flush_soon()

    def finish_drain(self) -> None:
        """Take no more streams."""
        self.core.finish_drain()
        self.flush_soon()

    def close(self, code: ErrorCode, reason: str) -> None:
        """Say GOAWAY and end; streams that are open are lost."""
        if self.phase is Phase.OPEN:
            self.core.close(code, reason)
            self._lose_streams(code)
            self.flush_soon()
        else:
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """Close the socket now."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        _log.debug("connection.closed peer=%s reason=%s", self.peer, reason)
        descriptor = self._port.fileno()
        self.loop.remove_reader(descriptor)
        self.loop.remove_writer(descriptor)
        self._port.close()
        self._writer.drop()
        self.core.connection_lost()
        self._lose_streams(ErrorCode.CANCEL)
        self._share.close()
        self._around.on_closed(self)

    def _on_readable(self) -> None:
        if self.phase is not Phase.CLOSED:
            self._guarded(self._read)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step of this connection; a defect in it costs this connection alone."""
        try:
            step()
        except Exception:  # noqa: BLE001 - the root of what the event loop calls
            _log.exception("connection.failed peer=%s", self.peer)
            self.abort("a defect of this server")

    def _read(self) -> None:
        try:
            if self.phase is Phase.HANDSHAKE:
                self._handshake()
            if self.phase is Phase.LINGERING:
                self._reader.discard()
                return
            # A turn that ends early comes again: the socket is still readable, or, with TLS,
            # bytes are waiting in the process and nobody will tell.
            if not self._reader.read(self._around.clock.monotonic_ms()):
                self.loop.call_soon(self._read_again)
        except BlockingIOError:
            self._await_writable(blocked=self._write_blocked)
            return
        except PeerClosed:
            self.abort("closed by the client")
            return
        except OSError as error:
            if isinstance(error, NotHttp2):
                _log.warning("connection.refused peer=%s reason=%s", self.peer, error)
            self.abort(f"lost: {error}")
            return
        if self.phase is not Phase.CLOSED:
            if self._port.reads_when_writable:
                self._await_writable(blocked=self._write_blocked)
            self.flush_soon()

    def _read_again(self) -> None:
        if self.phase is Phase.OPEN:
            self._on_readable()

    def _handshake(self) -> None:
        self._port.handshake()
        self.auth_context = self._port.auth_context()
        self.phase = Phase.OPEN

    def failed(self, event: ConnectionFailed) -> None:
        """The client has broken the protocol."""
        _log.warning("connection.refused peer=%s reason=%s", self.peer, event.reason)
        self._lose_streams(event.error_code)
        if event.reason == "not_http2":
            self.abort(event.reason)
        else:
            # What it sends from here on has no effect: let it pile up on the client's side
            # until our last words are out.
            self.loop.remove_reader(self._port.fileno())

    @property
    def streams(self) -> Mapping[int, ServerStream]:
        """The streams that are open, by their identifiers."""
        return self._inbox.streams

    def stream_over(self, stream: ServerStream, error: StreamReset | None) -> None:
        """A stream is done, cleanly or not."""
        self._inbox.streams.pop(stream.stream_id, None)
        self.room.forget(stream.stream_id)
        stream.over(error)

    def credit(self, stream_id: int, size: int) -> None:
        """Return flow-control credit to the client."""
        self.core.acknowledge(stream_id, size)
        self.flush_soon()

    def _lose_streams(self, code: int) -> None:
        for stream in list(self.streams.values()):
            self.stream_over(stream, StreamReset(code))

    def flush_soon(self) -> None:
        """Write what there is once everything that runs now has had its say."""
        if not self._flush_scheduled and not self._write_blocked:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.phase is Phase.OPEN and not self._write_blocked:
            self._guarded(self._write)

    def _write(self) -> None:
        try:
            if not self._writer.write():
                self.flush_soon()
                return
        except BlockingIOError:
            self._await_writable(blocked=True)
            return
        except ColdPages as cold:
            self._write_blocked = True
            self._around.read_ahead(cold.piece, self._resume)
            return
        except TruncatedFile as error:
            _log.error("connection.broken peer=%s reason=%s", self.peer, error)
            self.abort("file truncated while it was sent")
            return
        except OSError as error:
            self.abort(f"lost: {error}")
            return
        if self.core.failed or (self.core.drained and not self.streams):
            self._linger()

    def _await_writable(self, *, blocked: bool) -> None:
        if blocked or self._port.reads_when_writable:
            self._write_blocked = blocked
            self.loop.add_writer(self._port.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        if self.phase is Phase.CLOSED:
            # Its descriptor may be another's by now.
            return
        self.loop.remove_writer(self._port.fileno())
        self._write_blocked = False
        if self._port.reads_when_writable:
            self._on_readable()
        if self.phase is Phase.OPEN:
            self._flush()

    def _linger(self) -> None:
        self.phase = Phase.LINGERING
        self._lose_streams(ErrorCode.CANCEL)
        self._port.finish_sending()
        self.loop.add_reader(self._port.fileno(), self._on_readable)

    def _resume(self, error: BaseException | None) -> None:
        """A range in the middle of a frame has been read ahead, or cannot be read."""
        if self.phase is Phase.OPEN:
            self._write_blocked = False
            if error is not None:
                _log.error("connection.broken peer=%s reason=%s", self.peer, error)
                self.abort("file unreadable while it was sent")
                return
            self._writer.warmed()
            self._flush()
