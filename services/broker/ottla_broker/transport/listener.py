"""Accepts connections on any number of sockets and sees them through to their end.

`serve` takes a socket that listens, `drain` lets every client know that the end is near (two-step
GOAWAY), `close` waits for what is in flight and ends the rest. A periodic sweep enforces all
times: handshakes, half frames and messages, slow readers, keepalive, age. Time is the injected
clock's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
import ssl
from collections.abc import Callable
from functools import partial

from ottla_broker.transport.byte_ports import BytePort, PlainPort, TlsPort
from ottla_broker.transport.connection import Connection
from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.stream import GrpcStream
from ottla_broker.transport.surroundings import Clock, Surroundings
from ottla_broker.transport.watch import ConnectionWatch

_log = logging.getLogger(__name__)

_ACCEPTS_PER_TURN = 64
_SWEEP_INTERVAL_S = 1.0
# After the process has run out of descriptors: how long before accepting is tried again.
_ACCEPT_PAUSE_S = 1.0
_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Listener:
    """Owns the listening sockets and the set of connections; one per server.

    Made and used inside a running event loop, in its thread. `on_stream` is called for each
    request once its headers, and the data that came with them, have been taken in.
    """

    def __init__(
        self,
        on_stream: Callable[[GrpcStream], None],
        limits: TransportLimits,
        *,
        clock: Clock,
        entropy: random.Random | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._random = entropy or random.Random()
        self._around: Surroundings[Connection] = Surroundings(
            on_stream=on_stream, limits=limits, clock=clock, on_closed=self._closed
        )
        self._loop = self._around.loop
        self._sockets: list[socket.socket] = []
        self._connections: dict[Connection, ConnectionWatch] = {}
        self._all_closed: asyncio.Future[None] | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def connection_count(self) -> int:
        """Connections that are not closed."""
        return len(self._connections)

    @property
    def stream_count(self) -> int:
        """Streams open on all connections."""
        return sum(len(connection.streams) for connection in self._connections)

    @property
    def memory_used(self) -> int:
        """Bytes of messages held in memory, of all connections."""
        return self._around.budget.used

    def serve(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Own a socket that listens already, and accept its connections from now on.

        The context of a TLS port is told to speak h2 by ALPN.
        """
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        bound.setblocking(False)
        self._sockets.append(bound)
        self._loop.add_reader(bound.fileno(), partial(self._accept, bound, tls))
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(_SWEEP_INTERVAL_S, self._sweep_again)

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()

    def drain(self) -> None:
        """Stop accepting and tell every client; streams in flight go on to their end."""
        self.stop_accepting()
        for connection, watch in list(self._connections.items()):
            watch.drain_began(self._clock.monotonic_ms())
            connection.begin_drain()

    async def close(self, grace_s: float | None = None) -> None:
        """Drain, wait up to `grace_s` seconds for streams to finish (None: not at all), end."""
        self.drain()
        try:
            if self._connections and grace_s:
                self._all_closed = self._loop.create_future()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self._all_closed
        finally:
            for connection in list(self._connections):
                connection.close(ErrorCode.NO_ERROR, "server_closed")
            # GOAWAY goes out before the sockets close.
            await asyncio.sleep(0)
            for connection in list(self._connections):
                connection.abort("server closed")
            if self._sweep_timer is not None:
                self._sweep_timer.cancel()
                self._sweep_timer = None
            self._around.page_cache.close()

    def sweep(self) -> None:
        """Enforce every time limit once."""
        now_ms = self._clock.monotonic_ms()
        for connection, watch in list(self._connections.items()):
            watch.look(connection, now_ms)

    def _sweep_again(self) -> None:
        self._sweep_timer = self._loop.call_later(_SWEEP_INTERVAL_S, self._sweep_again)
        self.sweep()

    def _accept(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._pause_accepting(listening, tls, error)
                    return
                _log.warning("accept.failed error=%s", error)
                return
            self._take_on(accepted, address, tls)

    def _pause_accepting(
        self, listening: socket.socket, tls: ssl.SSLContext | None, error: OSError
    ) -> None:
        _log.error("accept.paused error=%s", error)
        self._loop.remove_reader(listening.fileno())

        def resume() -> None:
            if listening in self._sockets:
                self._loop.add_reader(listening.fileno(), partial(self._accept, listening, tls))

        self._loop.call_later(_ACCEPT_PAUSE_S, resume)

    def _take_on(
        self, accepted: socket.socket, address: tuple[object, ...], tls: ssl.SSLContext | None
    ) -> None:
        peer = _peer_name(accepted.family, address)
        if len(self._connections) >= self._limits.connections_max:
            _log.warning("connection.refused peer=%s reason=too many connections", peer)
            accepted.close()
            return
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port: BytePort = TlsPort(accepted, tls) if tls else PlainPort(accepted)
        except OSError as error:
            _log.debug("connection.lost peer=%s error=%s", peer, error)
            accepted.close()
            return
        connection = Connection(port, peer=peer, surroundings=self._around)
        self._connections[connection] = ConnectionWatch(
            self._limits, now_ms=self._clock.monotonic_ms(), jitter=self._random.uniform(-1, 1)
        )
        connection.start()

    def _closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if not self._connections and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)


def _peer_name(family: int, address: tuple[object, ...]) -> str:
    """A peer's address as gRPC writes it."""
    if family == socket.AF_INET6:
        return f"ipv6:%5B{address[0]}%5D:{address[1]}"
    return f"ipv4:{address[0]}:{address[1]}"
