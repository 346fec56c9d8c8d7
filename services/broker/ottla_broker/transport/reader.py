"""Reads a connection's socket: the only code that receives on it.

Most bytes come into one buffer that all connections share and are parsed at once. When the rest
of a large message is what comes next, it is received straight into the message's own buffer,
and whatever follows it into the shared one, in one system call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ottla_broker.transport.byte_ports import BytePort
from ottla_broker.transport.http2 import ServerConnection
from ottla_broker.transport.http2.events import Event

_BUFFER_SIZE = 256 * 1024
# Fewer bytes than this are not worth a buffer of their own in the system call.
_DIRECT_SIZE_MIN = 8 * 1024
_READS_PER_TURN = 8
# What a client may still send after our last word before the connection is cut.
_DISCARDED_SIZE_MAX = 4 << 20


class ReadBuffer:
    """The buffer bytes arrive in; one per event loop, never kept over a call."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_BUFFER_SIZE))


class Inbox(Protocol):
    """Where what was read goes."""

    def events_received(self, events: Sequence[Event], *, now_ms: int) -> None:
        """Act on events whose views are valid during the call only."""
        ...

    def room_for(self, stream_id: int) -> memoryview | None:
        """Where a stream's payload may be received directly."""
        ...

    def received_directly(self, stream_id: int, size: int, *, now_ms: int) -> None:
        """Count payload put there."""
        ...


class PeerClosed(Exception):  # noqa: N818 - reads as the event it is
    """The client has closed its side of the connection."""


class Reader:
    """Owns the receiving half of a port."""

    def __init__(
        self, port: BytePort, core: ServerConnection, *, inbox: Inbox, buffer: ReadBuffer
    ) -> None:
        self._port = port
        self._core = core
        self._inbox = inbox
        self._buffer = buffer.view
        self.received_size = 0
        self._discarded_size = 0

    def read(self, now_ms: int) -> bool:
        """Read until the socket is empty; False when the turn is over before that.

        Raises:
            PeerClosed: the client has closed its side.
            OSError: the connection is gone.
        """
        for _ in range(_READS_PER_TURN):
            try:
                emptied = self._read_once(now_ms)
            except BlockingIOError:
                return True
            if emptied:
                return True
        return False

    def discard(self) -> None:
        """Read and forget what comes after our last word.

        Raises:
            BlockingIOError: nothing more has come yet.
            PeerClosed: the client has closed its side, or does not stop sending.
            OSError: the connection is gone.
        """
        for _ in range(_READS_PER_TURN):
            count = self._port.receive_into([self._buffer])
            self._discarded_size += count
            if not count or self._discarded_size > _DISCARDED_SIZE_MAX:
                raise PeerClosed

    def _read_once(self, now_ms: int) -> bool:
        """One system call and what it brought; whether the socket is known to be empty now."""
        core, inbox, shared = self._core, self._inbox, self._buffer
        stream_id, size = core.direct_data()
        room = inbox.room_for(stream_id) if size >= _DIRECT_SIZE_MIN else None
        if room is None:
            count = self._receive([shared])
            events = core.receive_data(shared[:count], now_ms=now_ms)
            if events:
                inbox.events_received(events, now_ms=now_ms)
            return count < len(shared) and not self._port.may_hold_received_bytes
        room = room[:size]
        buffers = [room, shared] if len(room) == size else [room]
        count = self._receive(buffers)
        direct = min(count, len(room))
        inbox.received_directly(stream_id, direct, now_ms=now_ms)
        events = core.received_directly(direct, now_ms=now_ms)
        if count > direct:
            events += core.receive_data(shared[: count - direct], now_ms=now_ms)
        if events:
            inbox.events_received(events, now_ms=now_ms)
        full = len(room) + (len(shared) if len(buffers) > 1 else 0)
        return count < full and not self._port.may_hold_received_bytes

    def _receive(self, buffers: list[memoryview]) -> int:
        count = self._port.receive_into(buffers)
        if not count:
            raise PeerClosed
        self.received_size += count
        return count
