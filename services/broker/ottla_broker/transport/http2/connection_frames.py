"""Frames that concern the connection as a whole, or nothing: SETTINGS, PING, GOAWAY, PRIORITY."""

from __future__ import annotations

from collections.abc import Callable

from ottla_broker.transport.http2 import frames
from ottla_broker.transport.http2.control_queue import ControlQueue
from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode, StreamFault
from ottla_broker.transport.http2.events import Event, GoAwayReceived, PingAcknowledged
from ottla_broker.transport.http2.frames import FLAG_ACK
from ottla_broker.transport.http2.rate_limits import RateLimits
from ottla_broker.transport.http2.settings import (
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    parse_settings,
)
from ottla_broker.transport.http2.stream_table import StreamTable


class Turn:
    """One call of `receive_data`: where its events go, and when it is."""

    __slots__ = ("events", "now_ms")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now_ms = 0

    def begin(self, events: list[Event], now_ms: int) -> None:
        """The next events go to `events`."""
        self.events = events
        self.now_ms = now_ms


class ConnectionFrames:
    """Owns what the client and we have said about the connection's end."""

    def __init__(
        self, turn: Turn, *, rates: RateLimits, table: StreamTable, control: ControlQueue
    ) -> None:
        self.peer_going_away = False
        self.drain_ping: bytes | None = None
        self.by_kind: dict[int, Callable[[int, int, memoryview], None]] = {
            frames.PRIORITY: self._priority,
            frames.PUSH_PROMISE: self._push_promise,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._bad_window_update,
        }
        self._turn = turn
        self._rates = rates
        self._table = table
        self._control = control

    def finish_drain(self) -> None:
        """Refuse new streams from here on, and say which was the last."""
        if not self._table.refusing:
            self._table.refusing = True
            self.drain_ping = None
            last = self._table.last_stream_id
            self._control.put(frames.goaway_frame(last, ErrorCode.NO_ERROR))

    def settings(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings_on_a_stream")
        if flags & FLAG_ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings_ack_with_payload")
            self._rates.ignored.take(self._turn.now_ms)
            return
        self._rates.settings.take(self._turn.now_ms)
        peer = self._table.peer
        # A change of windows costs as much as there are streams: a frame makes one, its last.
        for identifier, value in dict(parse_settings(bytes(payload))).items():
            if identifier == INITIAL_WINDOW_SIZE:
                self._table.change_initial_window(value)
            elif identifier == MAX_FRAME_SIZE:
                peer.frame_size_max = value
        self._control.put_ack(frames.SETTINGS_ACK)

    def _push_promise(self, flags: int, stream_id: int, payload: memoryview) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "push_promise_from_a_client")

    def _ping(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ping_on_a_stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "ping_of_wrong_size")
        opaque = bytes(payload)
        if flags & FLAG_ACK:
            self._rates.ignored.take(self._turn.now_ms)
            if opaque == self.drain_ping:
                self.finish_drain()
            else:
                self._turn.events.append(PingAcknowledged(opaque))
            return
        self._rates.pings.take(self._turn.now_ms)
        self._control.put_ack(frames.ping_frame(opaque, ack=True))

    def _goaway(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "goaway_on_a_stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "goaway_too_short")
        self._rates.ignored.take(self._turn.now_ms)
        self.peer_going_away = True
        last = int.from_bytes(payload[:4], "big") & frames.STREAM_ID_MAX
        code = int.from_bytes(payload[4:8], "big")
        self._turn.events.append(GoAwayReceived(last, code, bytes(payload[8:264])))

    def _bad_window_update(self, flags: int, stream_id: int, payload: memoryview) -> None:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "window_update_of_wrong_size")

    def _priority(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "priority_on_stream_0")
        self._rates.ignored.take(self._turn.now_ms)
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a size other than 5")
